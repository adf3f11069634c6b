"""What is done to many tasks at once, and what is told of attempts, logs, places and addresses."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.use.bulk import each
from runtime import errors
from tests.gateway.conftest import Harness, StartHarness
from tests.gateway.test_access import ALICE, KEYS, OPERATOR
from yivideo.task.v1 import task_pb2 as pb


async def post(
    harness: Harness, path: str, body: dict[str, Any], **headers: str
) -> tuple[int, dict[str, Any]]:
    async with harness.http.post(path, json=body, headers=headers) as response:
        return response.status, await response.json()


@pytest.mark.trial("10.14")
async def test_many_are_cancelled_each_with_its_own_outcome(harness: Harness) -> None:
    """By ids: waiting, running, ended, unknown; by conditions: those that have not ended."""
    for n in range(4):
        await harness.submit(f"t{n}")
    await harness.scheduler.happen("t1", pb.TASK_STATE_RUNNING, started=pb.TaskStarted())
    await harness.scheduler.complete("t2")
    status, answer = await post(harness, "/v1/tasks/cancel", {"task_ids": ["t0", "t1", "t2", "none", "t0"]})
    assert status == 200
    assert [(item["task_id"], item["status"], item["code"]) for item in answer["results"]] == [
        ("t0", "cancelled", None), ("t1", "cancelling", None), ("t2", "failed", "WRONG_STATE"),
        ("none", "failed", "TASK_NOT_FOUND"),
    ]  # fmt: skip
    assert (answer["done"], answer["failed"], answer["more"]) == (2, 2, False)
    _, answer = await post(
        harness, "/v1/tasks/cancel", {"where": {"task_name": "ffmpeg.extract_audio"}, "limit": 1}
    )
    assert [item["task_id"] for item in answer["results"]] == ["t3"]
    listing = next(one for one in harness.scheduler.requests if isinstance(one, pb.ListTasksRequest))
    assert pb.TASK_STATE_COMPLETED not in listing.states and pb.TASK_STATE_RUNNING in listing.states


@pytest.mark.trial("10.14")
async def test_many_are_deleted_and_nothing_is_meant_by_nothing(start_harness: StartHarness) -> None:
    """Another user's are not found; conditions are needed; ids or conditions, not both."""
    async with start_harness(api_keys=KEYS) as harness:
        alice, operator = {"X-API-Key": ALICE}, {"X-API-Key": OPERATOR}
        async with harness.http.post(
            "/v1/tasks", headers=operator,
            json={"task_name": "ffmpeg.extract_audio", "task_id": "o1", "input_data": {"video_path": "a"}},
        ) as response:  # fmt: skip
            assert response.status == 202
        _, answer = await post(harness, "/v1/tasks/delete", {"task_ids": ["o1"]}, **alice)
        assert answer["results"][0]["code"] == "TASK_NOT_FOUND"
        _, answer = await post(harness, "/v1/tasks/delete", {"task_ids": ["o1"], "force": True}, **operator)
        assert (answer["results"][0]["status"], answer["failed"]) == ("partial_failed", 1)
        bodies: tuple[dict[str, Any], ...] = (
            {},
            {"where": {}},
            {"task_ids": []},
            {"task_ids": ["a"], "where": {"status": ["failed"]}},
        )
        for body in bodies:
            assert (await post(harness, "/v1/tasks/delete", body, **alice))[0] == 400, body
        status, answer = await post(harness, "/v1/tasks/cancel", {"where": {"status": ["done"]}}, **alice)
        assert (status, answer["errors"][0]["pointer"]) == (400, "/where/status")
        assert "pending, running, completed" in answer["detail"]


async def test_nothing_is_begun_when_the_time_is_over() -> None:
    """What is left over is named, not dropped."""
    now = [0.0]

    async def do(task_id: str) -> str:
        now[0] += 30
        if task_id == "t1":
            raise errors.WrongState("no")
        return "done"

    outcomes = await each([f"t{n}" for n in range(4)], do, clock=lambda: now[0], seconds=59)
    assert [one.status for one in outcomes] == ["done", "failed", "not_tried", "not_tried"]


@pytest.mark.trial("10.14")
async def test_attempts_logs_places_and_pings_are_told(start_harness: StartHarness) -> None:
    """An attempt's address is for operators; null stands for what is not known."""
    async with start_harness(api_keys=KEYS) as harness:
        alice, operator = {"X-API-Key": ALICE}, {"X-API-Key": OPERATOR}
        async with harness.http.post(
            "/v1/tasks", headers=alice,
            json={"task_name": "ffmpeg.extract_audio", "task_id": "t1", "input_data": {"video_path": "a"}},
        ) as response:  # fmt: skip
            assert response.status == 202
        lost = pb.AttemptRecord(attempt=1, node="ffmpeg", replica="r1", address="h:1", outcome="lost")
        lost.error.CopyFrom(pb.TaskError(code="WORKER_LOST", message="it stood still", retryable=True))
        harness.scheduler.attempts = pb.ListAttemptsResponse(
            attempts=[lost, pb.AttemptRecord(attempt=2, node="ffmpeg", replica="r2", outcome="running")]
        )
        harness.scheduler.log = pb.GetTaskLogResponse(
            lines=[pb.TaskLogLine(sequence=3, attempt=1, level="info", message="a line")]
        )

        async def get(path: str, headers: dict[str, str]) -> dict[str, Any]:
            async with harness.http.get(path, headers=headers) as response:
                assert response.status == 200, await response.text()
                answer: dict[str, Any] = await response.json()
                return answer

        first, second = (await get("/v1/tasks/t1/attempts", alice))["attempts"]
        assert (first["outcome"], first["error"], first["replica"]) == (
            "lost",
            "WORKER_LOST: it stood still",
            "r1",
        )
        assert "address" not in first and (second["ended_at"], second["error"]) == (None, None)
        assert (await get("/v1/tasks/t1/attempts", operator))["attempts"][0]["address"] == "h:1"
        log = await get("/v1/tasks/t1/log?level=warning&after=2", alice)
        assert (log["lines"][0]["message"], log["next_after"]) == ("a line", None)
        assert "queue" not in await get("/v1/tasks/t1/status", alice)
        harness.scheduler.tasks["t1"].queue_place.position = 3
        assert (await get("/v1/tasks/t1", alice))["queue"] == {
            "position": 3, "estimated_wait_seconds": None, "estimate_basis": None,
        }  # fmt: skip
        status, ping = await post(harness, "/v1/webhooks/ping", {"url": "https://example.com/hook"}, **alice)
        assert (status, ping["http_status"], ping["error"]) == (200, 204, None)
