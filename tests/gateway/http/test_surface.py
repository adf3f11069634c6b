"""What every answer has in common: problems, ids, headers, limits, CORS, probes, figures."""

from __future__ import annotations

import asyncio
import io
import json
from datetime import datetime
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.http.problem import Problem
from runtime import errors, spans
from tests.gateway.conftest import Harness, StartHarness
from tests.runtime.test_spans import CALLER, Kept


def classes(root: type[errors.YiVideoError]) -> list[type[errors.YiVideoError]]:
    """Return the whole tree."""
    return [root, *(kind for child in root.__subclasses__() for kind in classes(child))]


@pytest.mark.parametrize("kind", [kind for kind in classes(errors.YiVideoError) if "code" in vars(kind)])
async def test_every_error_has_its_status_and_shape(
    harness: Harness, kind: type[errors.YiVideoError]
) -> None:
    """Each class of the tree, raised by a room, comes out as a problem with its own code and HTTP status."""
    harness.scheduler.fail = kind("the reason", fields=[errors.FieldViolation("/a", "b")])
    async with harness.http.get("/v1/tasks/t1", headers={"X-Request-Id": "abc-1"}) as response:
        assert response.content_type == "application/problem+json"
        problem = Problem.model_validate(await response.json())
        if kind is errors.Unauthenticated:  # our own token was refused: not the client's fault
            assert (response.status, problem.code) == (500, "INTERNAL")
            return
        assert (response.status, problem.code) == (kind.http_status, kind.code)
        assert response.headers.get("Retry-After", "").isdecimal() == (kind.http_status in (429, 503))
    assert problem.status == kind.http_status
    assert problem.type == f"urn:yivideo:problem:{kind.code.lower().replace('_', '-')}"
    assert problem.instance == "/v1/tasks/t1"
    assert problem.request_id == "abc-1"
    assert (problem.error.code, problem.error.message) == (kind.code, problem.detail)
    assert problem.error.timestamp == problem.timestamp
    if kind.http_status < 500 or kind.http_status == 507:
        assert problem.detail == "the reason"
        assert [fault.pointer for fault in problem.errors] == ["/a"]
    else:
        assert "the reason" not in problem.detail


async def test_errors_of_http_itself_have_the_same_shape(harness: Harness) -> None:
    """Unknown path, wrong method, overlong path and body: the same problem, with Allow where it belongs."""
    big = b'{"a":"' + b"x" * (1024 * 1024) + b'"}'
    json_type = {"Content-Type": "application/json"}
    for method, path, data, status, code in (
        ("GET", "/v1/nothing", None, 404, "NOT_FOUND"),
        ("PATCH", "/v1/tasks", None, 405, "METHOD_NOT_ALLOWED"),
        ("GET", "/v1/files/exists/" + "x" * 5000, None, 414, "PATH_TOO_LONG"),
        ("POST", "/v1/tasks", big, 413, "PAYLOAD_TOO_LARGE"),
    ):
        body = io.BytesIO(data) if data else None
        async with harness.http.request(method, path, data=body, headers=json_type) as response:
            assert response.status == status
            problem = Problem.model_validate(await response.json())
            assert (problem.code, problem.status) == (code, status)
            if status == 405:
                assert set(response.headers["Allow"].split(",")) == {"GET", "HEAD", "POST"}


async def test_a_bug_is_500_without_its_text(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a handler raises beside the tree is INTERNAL, and its text stays in the log."""
    from gateway.v1 import presenter

    def broken(*_: object) -> None:
        raise ValueError("secret /srv/path")

    await harness.submit("t1")
    monkeypatch.setattr(presenter, "status", broken)
    async with harness.http.get("/v1/tasks/t1/status") as response:
        text = await response.text()
        assert response.status == 500 and "secret" not in text and response.headers["X-Request-Id"] in text


@pytest.mark.parametrize(
    "raw", [b"NONSENSE\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"x" * 20_000 + b"\r\n\r\n"]
)
async def test_what_is_not_http_is_400(harness: Harness, raw: bytes) -> None:
    """Malformed requests and overlong headers end with 400, and the server goes on."""
    host, _, port = harness.address.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(raw)
    assert (await reader.readline()).split()[1] == b"400"
    writer.close()
    async with harness.http.get("/healthz") as response:
        assert response.status == 200


async def test_request_ids_travel(harness: Harness) -> None:
    """A good X-Request-Id is kept, passed on by RPC and echoed; another one is replaced; none is made."""
    for offered, kept in (("abc-1", True), ("a b", False), ("x" * 200, False), (None, False)):
        headers = {"X-Request-Id": offered} if offered else {}
        async with harness.http.get("/v1/tasks", headers=headers) as response:
            given = response.headers["X-Request-Id"]
        assert (given == offered) is kept and given
        assert harness.scheduler.request_ids[-1] == given


async def test_trace_context_travels(harness: Harness) -> None:
    """Both headers reach the task's spec and come back; a malformed traceparent is replaced by a new root, without a state."""
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    body = {"task_name": "ffmpeg.extract_audio", "input_data": {"video_path": "a"}}
    for offered, kept in ((trace, True), ("nonsense", False)):
        headers = {"traceparent": offered, "tracestate": "shop=7,b@c=x y"}
        async with harness.http.post("/v1/tasks", json=body, headers=headers) as response:
            assert response.status == 202
        spec = harness.scheduler.submitted()
        assert (spec.traceparent == offered) is kept and spec.traceparent.startswith("00-")
        assert response.headers["traceparent"] == spec.traceparent
        assert (
            response.headers.get("tracestate", "")
            == spec.tracestate
            == (headers["tracestate"] if kept else "")
        )


@pytest.mark.parametrize(
    "state", ["no member", "A=b", "a=", "a=" + "x" * 600, ",".join(f"k{n}=v" for n in range(33))]
)
async def test_a_malformed_tracestate_is_left_out(harness: Harness, state: str) -> None:
    """The trace goes on without it."""
    headers = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "tracestate": state}
    async with harness.http.get("/v1/tasks", headers=headers) as response:
        assert response.headers["traceparent"] == headers["traceparent"]
        assert "tracestate" not in response.headers


async def test_a_recorded_request_is_a_span(harness: Harness) -> None:
    """It is named by its route and tells no path; what goes on from it lies beneath; probes are none."""
    recorder = Kept()
    with spans.recording(recorder):
        async with harness.http.get("/v1/tasks/private-name", headers={"traceparent": CALLER}) as response:
            assert response.status == 404
        async with harness.http.get("/healthz"):
            pass
    (request,) = [span for span in recorder.spans if span.attributes.get("http.request.method")]
    assert (request.name, request.parent_id) == ("GET /v1/tasks/{task_id}", CALLER.split("-")[2])
    assert request.attributes["http.response.status_code"] == 404
    assert response.headers["traceparent"] == request.traceparent
    (called,) = [span for span in recorder.spans if span.parent_id == request.span_id]
    assert called.name.endswith("/GetTask")
    assert "private-name" not in repr(recorder.spans)


async def test_every_answer_carries_the_security_headers(harness: Harness) -> None:
    """nosniff, no framing, no referrer, no caching by default, a policy that runs nothing."""
    for path in ("/healthz", "/v1/tasks", "/v1/nothing", "/openapi.json"):
        async with harness.http.get(path) as response:
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert response.headers["X-Frame-Options"] == "DENY"
            assert response.headers["Content-Security-Policy"].startswith("default-src 'none'")
            assert response.headers["Server"] == "yivideo"
    async with harness.http.get("/v1/tasks") as response:
        assert response.headers["Cache-Control"] == "no-store"


async def test_cors(start_harness: StartHarness) -> None:
    """An allowed origin may ask with our headers and read ours, errors included; another origin gets no permission."""
    async with start_harness(cors_origins=("https://app.example",)) as harness:
        wish = {
            "Access-Control-Request-Method": "PUT",
            "Access-Control-Request-Headers": "x-api-key,range,prefer",
        }
        good, bad = {"Origin": "https://app.example"}, {"Origin": "https://evil.example"}
        async with harness.http.options("/v1/files/a/b", headers={**good, **wish}) as response:
            assert response.status == 200
            assert response.headers["Access-Control-Allow-Origin"] == "https://app.example"
            assert "PUT" in response.headers["Access-Control-Allow-Methods"]
        async with harness.http.options("/v1/files/a/b", headers={**bad, **wish}) as response:
            assert response.status == 403 and "Access-Control-Allow-Origin" not in response.headers
        for path, status in (("/v1/tasks", 200), ("/v1/tasks/none", 404)):
            async with harness.http.get(path, headers=good) as response:
                assert response.status == status
                assert response.headers["Access-Control-Allow-Origin"] == "https://app.example"
                exposed = response.headers["Access-Control-Expose-Headers"].lower()
                assert all(
                    name in exposed
                    for name in ("location", "etag", "retry-after", "x-request-id", "preference-applied")
                )
            async with harness.http.get(path, headers=bad) as response:
                assert "Access-Control-Allow-Origin" not in response.headers


async def test_probes_tell_alive_from_ready(harness: Harness) -> None:
    """Healthz asks nobody; readyz and tasks/health name the part that does not serve."""
    async with harness.http.get("/readyz") as response:
        parts = dict.fromkeys(("scheduler", "filestore", "gpulock", "gateway"), "healthy")
        assert (response.status, await response.json()) == (200, {"status": "ready", "parts": parts})
    await harness.lock_server.set_serving("yivideo.gpulock.v1.LockMonitor", False)
    async with harness.http.get("/readyz") as response:
        assert response.status == 200, "tasks are taken without the lock service"
        assert (await response.json())["parts"]["gpulock"] == "unhealthy"
    await harness.filestore_server.set_serving("yivideo.file.v1.FileService", False)
    async with harness.http.get("/readyz") as response:
        assert response.status == 503
        assert (await response.json())["parts"]["filestore"] == "unhealthy"
    async with harness.http.get("/v1/tasks/health") as response:
        body = await response.json()
        assert (response.status, body["status"]) == (503, "unhealthy")
        assert (body["celery_broker"], body["minio_service"], body["service"]) == (
            "healthy",
            "unhealthy",
            "yivideo-gateway",
        )
    async with harness.http.get("/healthz") as response:
        assert (response.status, await response.json()) == (200, {"status": "alive"})


async def test_metrics_and_echo_are_offered_only_when_set(start_harness: StartHarness) -> None:
    """/metrics and /test are 404 by default; set, the figures carry route templates and never ids, the echo no credentials."""
    async with start_harness() as harness:
        for path in ("/metrics", "/test"):
            async with harness.http.get(path) as response:
                assert response.status == 404
    async with start_harness(serve_metrics=True, echo=True) as harness:
        async with harness.http.get("/v1/tasks/very-secret-id") as response:
            assert response.status == 404
        async with harness.http.get("/metrics") as response:
            text = await response.text()
        names = {family.name for family in text_string_to_metric_families(text)}
        assert {"yivideo_http_requests", "yivideo_http_request_seconds", "yivideo_sse_connections"} <= names
        assert 'route="/v1/tasks/{task_id}"' in text and "very-secret-id" not in text
        headers = {"X-API-Key": "yiv_secret", "X-Custom": "1"}
        async with harness.http.post("/test?a=1", data="hello", headers=headers) as response:
            body = await response.json()
        assert (body["method"], body["body"], body["query"]) == ("POST", "hello", {"a": "1"})
        assert body["headers"]["x-custom"] == "1" and "x-api-key" not in body["headers"]


async def test_operations(harness: Harness) -> None:
    """Queues, dead letters and their replay, deliveries and redelivery, in their documented shapes."""
    await harness.submit("t1", callback="https://example.com/h")
    async with harness.http.get("/v1/queues") as response:
        (queue,) = (await response.json())["queues"]
        assert (queue["node"], queue["ready"], queue["running"], queue["oldest_wait_seconds"]) == (
            "ffmpeg",
            3,
            2,
            1.25,
        )
    harness.scheduler.dead["t1"] = harness.scheduler.tasks["t1"]
    async with harness.http.get("/v1/dead-letters") as response:
        assert [task["task_id"] for task in (await response.json())["tasks"]] == ["t1"]
    async with harness.http.post("/v1/dead-letters/t1/replay") as response:
        assert (response.status, response.headers["Location"]) == (202, "/v1/tasks/t1")
    async with harness.http.post("/v1/dead-letters/t1/replay") as response:
        assert response.status == 404
    harness.scheduler.deliveries.deliveries.add(
        attempt=1, error="no answer", duration_seconds=30, webhook_id="w1"
    )
    harness.scheduler.deliveries.deliveries.add(attempt=2, http_status=204, webhook_id="w1")
    async with harness.http.get("/v1/tasks/t1/deliveries") as response:
        body = await response.json()
    assert [(one["attempt"], one["http_status"], one["error"]) for one in body["deliveries"]] == [
        (1, None, "no answer"),
        (2, 204, None),
    ]
    assert datetime.fromisoformat(body["deliveries"][0]["time"]).tzinfo is not None
    async with harness.http.post("/v1/tasks/t1/redeliver") as response:
        assert (response.status, (await response.json())["code"]) == (400, "WRONG_STATE")
    await harness.scheduler.complete("t1")
    async with harness.http.post("/v1/tasks/t1/redeliver") as response:
        assert (response.status, (await response.json())["callback_status"]) == (202, "pending")


async def test_links_begin_with_the_public_address(start_harness: StartHarness) -> None:
    """public_url, where it is set, begins every link; else the address that the client used."""
    async with start_harness(public_url="https://media.example") as harness:
        await harness.submit("t1")
        await harness.scheduler.complete("t1")
        async with harness.http.get("/v1/tasks/t1/status") as response:
            (file,) = (await response.json())["minio_files"]
    assert file["url"].startswith("https://media.example/v1/files/download/t1/")


async def test_the_clients_address_survives_a_lost_backend(start_harness: StartHarness) -> None:
    """With both rooms away the gateway still answers: probes, problems and its own description."""
    async with start_harness(scheduler_address="127.0.0.1:1", filestore_address="127.0.0.1:1") as harness:
        for path, status in (("/healthz", 200), ("/readyz", 503), ("/v1/tasks/t1", 503), ("/v1/files/health", 503),
                             ("/openapi.json", 200)):  # fmt: skip
            async with harness.http.get(path, timeout=aiohttp.ClientTimeout(total=20)) as response:
                assert response.status == status, path


_READ = ["/", "/docs", "/openapi.json", "/healthz", "/readyz", "/v1/tasks", "/v1/tasks/none", "/v1/nothing"]


@pytest.mark.trial("10.7")
@pytest.mark.parametrize("path", _READ)
async def test_head_answers_like_get_without_a_body(harness: Harness, path: str) -> None:
    """Status and headers of the GET, and not one byte."""
    async with harness.http.get(path, allow_redirects=False) as got:
        await got.read()
    async with harness.http.head(path, allow_redirects=False) as response:
        assert await response.read() == b""
        assert (response.status, response.content_type) == (got.status, got.content_type)


TASK = {"task_id": "t1", "task_name": "ffmpeg.extract_audio", "input_data": {"video_path": "a.mp4"}}


async def test_head_of_an_event_stream_ends(harness: Harness) -> None:
    """A probe of a stream is told its type and is not held."""
    async with harness.http.post("/v1/tasks", json=TASK) as response:
        assert response.status == 202, await response.text()
    async with asyncio.timeout(5), harness.http.head("/v1/tasks/t1/events") as response:
        assert (response.status, response.content_type) == (200, "text/event-stream")


@pytest.mark.trial("10.6")
async def test_the_places_of_all_figures_are_listed(start_harness: StartHarness, tmp_path: Path) -> None:
    """/metrics/targets shows the file that the settings name, in Prometheus' own form; 404 without one, or before it is there."""
    path = tmp_path / "targets.json"
    listed = [{"targets": ["127.0.0.1:8810"], "labels": {"job": "yivideo", "part": "gateway"}}]
    async with start_harness(metrics_targets=path) as harness:
        async with harness.http.get("/metrics/targets") as response:
            assert response.status == 404
        path.write_text(json.dumps(listed))
        async with harness.http.get("/metrics/targets") as response:
            assert (response.status, response.content_type) == (200, "application/json")
            assert await response.json() == listed
    async with start_harness() as harness, harness.http.get("/metrics/targets") as response:
        assert response.status == 404


@pytest.mark.trial("10.7")
@pytest.mark.parametrize("kind", [errors.QuotaExceeded, errors.DiskFull])
async def test_a_full_store_is_507(harness: Harness, kind: type[errors.YiVideoError]) -> None:
    """Not a rate limit: coming back later does not help, so nobody is told to."""
    harness.filestore.fail = kind("the store's disk is full")
    harness.filestore.refuse_after_bytes = 1
    for ask in (harness.http.put("/v1/files/a", data=b"x"), harness.http.get("/v1/files/download/a")):
        async with ask as response:
            assert response.status == 507
            assert "Retry-After" not in response.headers
            code = (await response.json())["code"]
    assert code == kind.code
