"""Requests that no client of ours would send: nothing is answered 5xx, nothing hangs, nothing stays open."""

from __future__ import annotations

import json
import random
import re
from typing import Any

import aiohttp
import pytest
from yarl import URL

from gateway.http.body import parse_json
from runtime.errors import InvalidArgument
from tests.gateway.conftest import Harness
from tests.gateway.routes import ROUTES

VALUES: list[Any] = [
    None, True, 0, -1, 1.5, 1e308, 2**53, 2**70, "", "x", "\0", "😀" * 50, [], {}, [[]], {"a": {"b": [1]}},
    "2030-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "http://[::1", "http://a:99999/",
    "https://x", "t1", ["t1"], {"k": "v"}, {"": ""},
]  # fmt: skip
FIELDS = [
    "task_name",
    "input_data",
    "task_id",
    "callback",
    "priority",
    "delay_seconds",
    "start_time",
    "start_deadline",
    "timeout_seconds",
    "retry_policy",
    "depends_on",
    "workflow_id",
    "labels",
]
PARAMETERS = [
    "status",
    "task_name",
    "user",
    "workflow_id",
    "label",
    "created_after",
    "created_before",
    "page_size",
    "page_token",
    "after",
    "bucket",
    "file_path",
    "recursive",
    "directory_path",
    "expires_hours",
    "token",
    "node",
]
TEXTS = [
    "", "x", "%00", "%ff", "-1", "99999999999999999999", "1e9", "true", "a=b", "=", "2030-01-01T00:00:00Z",
    "0001-01-01T00:00:00%2B23:59", "9999-12-31T23:59:59-23:59", "/share/x", "%ed%a0%80", "..", "%2e%2e%2f", "%C2%B2",
]  # fmt: skip
PARTS = ["t1", "no", "%00", "%ff", "..", "%2e%2e", "a%2fb", "%ed%a0%80", "x" * 300]
HEADERS = [
    "Range", "If-Range", "If-None-Match", "If-Modified-Since", "Prefer", "Last-Event-ID", "Idempotency-Key",
    "X-Request-Id", "traceparent", "Origin", "Content-Encoding", "X-API-Key",
]  # fmt: skip
HEADER_VALUES = [
    "", "x", "bytes=0-1", "bytes=-1", "bytes=5-", 'W/"a"', "*", 'wait=1"', "1", "-1", "Tue, 14 Nov 2023 22:13:20 GMT",
    "Tue, 99 Nov 2023 22:13:20 GMT", "Tue, 14 Nov 99999 22:13:20 GMT", "a" * 300,
]  # fmt: skip


def odd_request(chance: random.Random, address: str) -> tuple[str, URL, dict[str, str], bytes | None]:
    """Make one request to a route of ours out of values that are wrong, borderline or strange."""
    route = chance.choice(ROUTES)
    path = re.sub(r"\{\w+(:[^{}]*)?\}", lambda _: chance.choice(PARTS), route.path)
    query = "&".join(
        f"{chance.choice(PARAMETERS)}={chance.choice(TEXTS)}" for _ in range(chance.randrange(3))
    )
    headers = {name: chance.choice(HEADER_VALUES) for name in HEADERS if chance.random() < 0.15}
    data: bytes | None = None
    if route.method in ("POST", "PUT") and chance.random() < 0.7:
        body: dict[str, Any] = {"task_name": "ffmpeg.extract_audio", "input_data": {"video_path": "a"}}
        body.update({chance.choice(FIELDS): chance.choice(VALUES) for _ in range(chance.randrange(3))})
        data, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
    elif route.method in ("POST", "PUT"):
        data = chance.randbytes(chance.choice([0, 1, 100]))
        headers["Content-Type"] = chance.choice(
            ["application/json", "multipart/form-data; boundary=a", "text/plain"]
        )
    return route.method, URL(f"http://{address}{path}?{query}", encoded=True), headers, data


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_no_request_is_answered_5xx(harness: Harness, seed: int) -> None:
    """1,000 odd requests a seed: each is answered, below 500, and afterwards no call is open behind the gateway."""
    chance = random.Random(seed)
    for _ in range(1000):
        harness.filestore.put("t1", b"abc")
        if "t1" not in harness.scheduler.tasks:
            await harness.submit("t1")
        method, url, headers, data = odd_request(chance, harness.address)
        timeout = aiohttp.ClientTimeout(total=10)
        async with harness.http.request(method, url, headers=headers, data=data, timeout=timeout) as response:
            if response.content_type == "text/event-stream":
                response.close()
            else:
                await response.read()
            assert response.status < 500, (method, str(url), headers, data)
    await harness.scheduler.wait_watchers(0)
    await harness.filestore.wait_for(
        lambda: harness.filestore.uploads_open == harness.filestore.downloads_open == 0
    )


async def test_what_is_not_http_is_its_senders_fault(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    """A request line past every limit is answered 400 and told in one line: no scanner fills the log with tracebacks."""
    url = URL(f"http://{harness.address}/v1/tasks?user={'x' * 9000}", encoded=True)
    async with harness.http.get(url) as response:
        assert response.status == 400
    (line,) = [record for record in caplog.records if record.name == "gateway.http"]
    assert (line.levelname, line.exc_info) == ("INFO", None)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1, "b": [{"a": 2}, {"a": null}]}', {"a": 1, "b": [{"a": 2}, {"a": None}]}),
        ('{"a": "http://x:1"}', {"a": "http://x:1"}),
        ('{"a": 123456789012345678901234567890}', {"a": 123456789012345678901234567890}),
        ('{"a": [18446744073709551615, 18446744073709551616, 1.5]}', {"a": [2**64 - 1, 2**64, 1.5]}),
    ],
)
def test_json_is_read_to_the_digit(text: str, value: object) -> None:
    """The quick way and the thorough one, which numbers and colons in texts make necessary, read the same."""
    assert parse_json(text.encode()) == value


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1, "a": 2}',
        '{"a": 1, "\\u0061": 2}',
        '{"a": {"b": 1, "b": 1}, "c": ":"}',
        '[[{"x": [{"n": 1.5, "n": 1}]}]]',
        '{"a":":", "a":""}',
    ],
)
def test_a_name_that_comes_twice_is_found(text: str) -> None:
    """However it is written, and whatever else has colons."""
    with pytest.raises(InvalidArgument, match="comes twice"):
        parse_json(text.encode())
