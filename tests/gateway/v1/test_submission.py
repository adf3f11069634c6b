"""POST /v1/tasks: what is accepted, reused, refused."""

from __future__ import annotations

import asyncio

import pytest

from runtime import errors
from tests.gateway.conftest import Harness, StartHarness
from tests.gateway.task_kinds import EXTRACT_AUDIO
from yivideo.task.v1 import task_pb2 as pb

GOOD = {"task_name": "ffmpeg.extract_audio", "input_data": {"video_path": "a.mp4"}}


async def test_a_new_task_is_accepted_with_its_address(harness: Harness) -> None:
    """A new task: 202, Location, Retry-After and the origin's body."""
    async with harness.http.post("/v1/tasks", json={**GOOD, "task_id": "t1"}) as response:
        assert response.status == 202
        assert response.headers["Location"] == "/v1/tasks/t1"
        assert response.headers["Retry-After"] == "1"
        assert await response.json() == {
            "task_id": "t1",
            "status": "pending",
            "state": "pending",
            "message": "The task was accepted.",
        }


async def test_every_field_reaches_the_scheduler(harness: Harness) -> None:
    """All top-level fields arrive in the TaskSpec as the contract names them."""
    await harness.submit(
        "t1",
        callback="https://example.com/hook",
        input_data={"video_path": "ä.mp4", "n": 3, "deep": {"list": [1, None, True, 1.5]}},
        priority=7,
        start_time="2030-01-02T03:04:05+02:00",
        timeout_seconds=60,
        start_deadline="2030-01-03T00:00:00Z",
        retry_policy={"max_attempts": 3, "initial_delay_seconds": 2, "retryable_codes": ["X"]},
        depends_on=["t0"],
        workflow_id="w1",
        labels={"film": "one"},
    )
    spec = harness.scheduler.submitted()
    assert (spec.task_id, spec.user, spec.priority, spec.timeout_seconds) == ("t1", "anonymous", 7, 60)
    assert spec.callback_url == "https://example.com/hook"
    assert spec.start_time.ToJsonString() == "2030-01-02T01:04:05Z"
    assert spec.start_deadline.ToJsonString() == "2030-01-03T00:00:00Z"
    assert (spec.retry_policy.max_attempts, spec.retry_policy.initial_delay_seconds) == (3, 2)
    assert list(spec.retry_policy.retryable_codes) == ["X"]
    assert (list(spec.depends_on), spec.workflow_id, dict(spec.labels)) == (["t0"], "w1", {"film": "one"})
    assert harness.scheduler.input_of("t1") == {
        "video_path": "ä.mp4",
        "n": 3,
        "deep": {"list": [1, None, True, 1.5]},
    }


async def test_a_task_without_id_gets_one(harness: Harness) -> None:
    """Without a task_id the gateway makes one, so that its own retries cannot make two tasks."""
    async with harness.http.post("/v1/tasks", json=GOOD) as response:
        made = (await response.json())["task_id"]
    assert made.startswith("task-") and made in harness.scheduler.tasks


async def test_the_same_request_is_reused_while_it_runs(harness: Harness) -> None:
    """Same id, same payload, unfinished: 200, pending, reuse_info with a state and no result."""
    await harness.submit("t1")
    async with harness.http.post("/v1/tasks", json={**GOOD, "task_id": "t1"}) as response:
        assert response.status == 200
        body = await response.json()
    assert body["status"] == "pending"
    assert body["reuse_info"] == {
        "reuse_hit": True,
        "task_name": "ffmpeg.extract_audio",
        "source": "redis",
        "state": "running",
    }
    assert "result" not in body


async def test_the_same_request_is_answered_with_its_result(harness: Harness) -> None:
    """Same id, same payload, completed: the single node result in the origin's shape, and the stored files."""
    await harness.submit("t1")
    await harness.scheduler.complete("t1")
    body = await harness.submit("t1")
    assert body["status"] == "completed"
    assert set(body["reuse_info"]) == {"reuse_hit", "task_name", "source", "cached_at"}
    assert body["result"] == {
        "task_name": "ffmpeg.extract_audio",
        "status": "SUCCESS",
        "input_params": {"video_path": "a.mp4"},
        "output": {"audio_path": "t1/töne.wav", "sample_rate": 16000},
        "error": None,
        "duration": 2.6,
    }
    assert body["minio_files"] == [
        {
            "name": "töne.wav",
            "url": f"http://{harness.address}/v1/files/download/t1/t%C3%B6ne.wav?bucket=yivideo",
            "type": "audio",
            "size": 1234,
            "path": "t1/töne.wav",
            "bucket": "yivideo",
            "sha256": "ab",
        }
    ]


async def test_another_payload_under_the_same_id_conflicts(harness: Harness) -> None:
    """Same id, other payload: 409 and the first task stays."""
    await harness.submit("t1")
    other = {**GOOD, "task_id": "t1", "input_data": {"video_path": "b.mp4"}}
    async with harness.http.post("/v1/tasks", json=other) as response:
        assert response.status == 409
        assert (await response.json())["code"] == "TASK_CONFLICT"
    assert harness.scheduler.input_of("t1") == {"video_path": "a.mp4"}


async def test_a_delay_is_the_same_request_when_repeated(harness: Harness) -> None:
    """delay_seconds is passed on as it is: sending it twice is one request, with another delay it is another."""
    await harness.submit("t1", delay_seconds=600)
    assert harness.scheduler.tasks["t1"].spec.delay_seconds == 600
    assert (await harness.submit("t1", delay_seconds=600))["reuse_info"]["reuse_hit"]
    async with harness.http.post(
        "/v1/tasks", json={**GOOD, "task_id": "t1", "delay_seconds": 900}
    ) as response:
        assert response.status == 409


async def test_an_idempotency_key_stands_for_the_task_id(harness: Harness) -> None:
    """One key, one task, with or without quotes; a task_id in the body goes before it."""
    made = []
    for key in ("abc", '"abc"', "abd"):
        async with harness.http.post("/v1/tasks", json=GOOD, headers={"Idempotency-Key": key}) as response:
            made.append((response.status, (await response.json())["task_id"]))
    assert [status for status, _ in made] == [202, 200, 202]
    assert made[0][1] == made[1][1] != made[2][1]
    headers = {"Idempotency-Key": "abc"}
    async with harness.http.post("/v1/tasks", json={**GOOD, "task_id": "mine"}, headers=headers) as response:
        assert (await response.json())["task_id"] == "mine"
    async with harness.http.post("/v1/tasks", json=GOOD, headers={"Idempotency-Key": "a b"}) as response:
        assert response.status == 400


async def test_a_submission_outlives_its_client(start_harness: StartHarness) -> None:
    """A client that goes away in mid-submission does not undo it: the scheduler's call runs to its end."""
    async with start_harness() as harness:
        harness.scheduler.submit_gate.clear()
        lost = asyncio.create_task(harness.submit("t1"))
        while not harness.scheduler.requests:
            await asyncio.sleep(0.005)
        lost.cancel()
        await asyncio.gather(lost, return_exceptions=True)
        async with harness.http.get("/healthz") as response:
            assert response.status == 200
        harness.scheduler.submit_gate.set()
        async with asyncio.timeout(5):
            while "t1" not in harness.scheduler.tasks:
                await asyncio.sleep(0.005)


@pytest.mark.trial("10.10")
async def test_what_nobody_runs_is_told_and_may_be_refused(harness: Harness) -> None:
    """supported-tasks says what is available and when the rest was last seen; a submit carries its wish; the refusal is a 409."""
    gone = pb.TaskType()
    gone.CopyFrom(EXTRACT_AUDIO)
    gone.last_seen_time.FromSeconds(1_700_000_000)
    there = pb.TaskType(name="a.b", node="a", available=True)
    there.last_seen_time.FromSeconds(1_700_000_000)
    harness.scheduler.types = [there, gone]
    async with harness.http.get("/v1/tasks/supported-tasks") as response:
        assert (await response.json())["tasks"] == [
            {"name": "a.b", "available": True, "last_seen_at": None},
            {"name": "ffmpeg.extract_audio", "available": False, "last_seen_at": "2023-11-14T22:13:20Z"},
        ]
    async with harness.http.get("/v1/task-types") as response:
        shown = (await response.json())["task_types"]
        assert [kind["available"] for kind in shown] == [True, False]
    for wish in ("wait", "refuse"):
        await harness.submit(f"t-{wish}", when_unavailable=wish)
        assert harness.scheduler.tasks[f"t-{wish}"].spec.when_unavailable == pb.WhenUnavailable.Value(
            f"WHEN_UNAVAILABLE_{wish.upper()}"
        )
    harness.scheduler.fail = errors.NodeUnavailable(
        "no replica of node ffmpeg", fields=[errors.FieldViolation("/task_name", "no replica of node ffmpeg")]
    )
    body = {
        "task_name": "ffmpeg.extract_audio",
        "input_data": {"video_path": "a"},
        "when_unavailable": "refuse",
    }
    async with harness.http.post("/v1/tasks", json=body) as response:
        answer = await response.json()
    assert (response.status, answer["code"]) == (409, "NODE_UNAVAILABLE")
    assert "no replica of node ffmpeg" in answer["detail"] and answer["errors"][0]["pointer"] == "/task_name"
