"""POST /v1/tasks: every way in which a submission can be wrong."""

from __future__ import annotations

import pytest

from runtime import errors
from tests.gateway.conftest import Harness

GOOD = {"task_name": "ffmpeg.extract_audio", "input_data": {"video_path": "a.mp4"}}


REFUSED = [
    ({"task_name": ""}, "/task_name"),
    ({"task_name": "extract"}, "/task_name"),
    ({"task_name": 5}, "/task_name"),
    ({"input_data": []}, "/input_data"),
    ({"input_data": None}, "/input_data"),
    ({"task_id": "../x"}, "/task_id"),
    ({"task_id": ".x"}, "/task_id"),
    ({"task_id": "x" * 129}, "/task_id"),
    ({"callback": "ftp://example.com"}, "/callback"),
    ({"callback": "https://"}, "/callback"),
    ({"callback": "https://e.com/" + "x" * 2048}, "/callback"),
    ({"priority": 101}, "/priority"),
    ({"priority": "1"}, "/priority"),
    ({"delay_seconds": -1}, "/delay_seconds"),
    ({"start_time": "2030-01-01T00:00:00"}, "/start_time"),
    ({"start_time": "tomorrow"}, "/start_time"),
    ({"timeout_seconds": 0}, "/timeout_seconds"),
    ({"retry_policy": {"max_attempts": 99}}, "/retry_policy/max_attempts"),
    ({"retry_policy": {"tries": 1}}, "/retry_policy/tries"),
    ({"depends_on": ["a", "b c"]}, "/depends_on/1"),
    ({"labels": {"a": 1}}, "/labels/a"),
    ({"surprise/me": 1}, "/surprise~1me"),
    ({"delay_seconds": 1, "start_time": "2030-01-01T00:00:00Z"}, ""),
]


@pytest.mark.parametrize(("change", "pointer"), REFUSED)
async def test_a_bad_field_is_named(harness: Harness, change: dict[str, object], pointer: str) -> None:
    """What does not fit is refused with 400 and a JSON pointer, and nothing is submitted."""
    async with harness.http.post("/v1/tasks", json={**GOOD, **change}) as response:
        body = await response.json()
        assert (response.status, body["code"]) == (400, "INVALID_ARGUMENT")
    assert [fault["pointer"] for fault in body["errors"]] == [pointer]
    assert harness.scheduler.requests == []


@pytest.mark.parametrize("name", ["task_name", "input_data"])
async def test_a_missing_field_is_named(harness: Harness, name: str) -> None:
    """Required fields are required."""
    body = {key: value for key, value in GOOD.items() if key != name}
    async with harness.http.post("/v1/tasks", json=body) as response:
        assert response.status == 400
        assert (await response.json())["errors"][0]["pointer"] == f"/{name}"


NOT_JSON = [
    b"{",
    b"",
    b'{"task_name": NaN}',
    b'{"a": 1, "a": 2}',
    b'{"input_data": {"x": {"b": 1, "b": 2}}}',
    b'{"a": "\xff"}',
    b'{"a": "\\ud800"}',
    b"[" * 5000,
    b'{"a":' * 30 + b"1" + b"}" * 30,
    b"[]",
    b"null",
    b'{"task_name":"ffmpeg.extract_audio","input_data":{"n":' + b"9" * 5000 + b"}}",
    b'{"task_name":"ffmpeg.extract_audio","input_data":{"n":9007199254740993}}',
    b'{"task_name":"ffmpeg.extract_audio","input_data":{"n":1e999}}',
]


@pytest.mark.parametrize("raw", NOT_JSON)
async def test_what_is_not_json_is_refused(harness: Harness, raw: bytes) -> None:
    """Malformed text, names that come twice, NaN, lone surrogates, great depth and lossy numbers: 400, nothing submitted."""
    async with harness.http.post(
        "/v1/tasks", data=raw, headers={"Content-Type": "application/json"}
    ) as response:
        assert response.status == 400, await response.text()
        assert response.content_type == "application/problem+json"
    assert harness.scheduler.requests == []


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_json_must_be_called_json(harness: Harness, content_type: str) -> None:
    """Another content type is refused: that is what keeps other sites' forms out."""
    headers = {"Content-Type": content_type} if content_type else {}
    skip = [] if content_type else ["Content-Type"]
    async with harness.http.post(
        "/v1/tasks", data=b"{}", headers=headers, skip_auto_headers=skip
    ) as response:
        assert response.status == 400
        assert "Content-Type" in (await response.json())["detail"]


async def test_errors_of_the_scheduler_keep_their_status_and_point_into_the_body(harness: Harness) -> None:
    """Unknown task 400, input that does not fit 422 with a pointer below /input_data, too many 429 with Retry-After."""
    async with harness.http.post("/v1/tasks", json={**GOOD, "task_name": "no.such"}) as response:
        assert (response.status, (await response.json())["code"]) == (400, "UNKNOWN_TASK_TYPE")
    async with harness.http.post("/v1/tasks", json={**GOOD, "input_data": {}}) as response:
        body = await response.json()
        assert (response.status, body["code"]) == (422, "INVALID_INPUT")
        assert body["errors"] == [{"pointer": "/input_data/video_path", "detail": "is missing"}]
        assert body["detail"] == "/input_data/video_path: is missing"
    harness.scheduler.fail = errors.TooManyTasks("enough", retry_after_seconds=6.2)
    async with harness.http.post("/v1/tasks", json=GOOD) as response:
        assert (response.status, response.headers["Retry-After"]) == (429, "7")


@pytest.mark.parametrize("prefer", [{}, {"Prefer": "wait=1"}])
@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (errors.Unauthenticated("the internal token is missing or wrong"), 500),
        (errors.Internal("Traceback: /srv/yivideo/x.py"), 500),
        (errors.ResourceExhausted("10 tasks wait already"), 429),
        (errors.DeadlineExceeded("redis-7.internal took too long"), 504),
    ],
    ids=lambda value: getattr(value, "code", None),
)
async def test_what_the_scheduler_says_of_itself_stays_inside(
    harness: Harness, fault: errors.YiVideoError, status: int, prefer: dict[str, str]
) -> None:
    """A submission that it refuses is refused in its words; its own faults are told without them, and blame no client's key."""
    harness.scheduler.fail = fault
    async with harness.http.post("/v1/tasks", json=GOOD, headers=prefer) as response:
        assert response.status == status
        assert (fault.message in await response.text()) is (status < 500)
