"""/v1/tasks: status, record, list, cancel, retry, delete, types."""

from __future__ import annotations

import asyncio
from datetime import datetime

import pytest

from gateway.v1.answers import tasks as answers
from tests.gateway.conftest import Harness
from yivideo.task.v1 import task_pb2 as pb

GOOD = {"task_name": "ffmpeg.extract_audio", "input_data": {"video_path": "a.mp4"}}


async def test_status_has_the_origins_shape(harness: Harness) -> None:
    """/status and /result: the origin's fields, result null until the end, then the single node result."""
    await harness.submit("t1")
    for path in ("status", "result"):
        async with harness.http.get(f"/v1/tasks/t1/{path}") as response:
            body = await response.json()
            assert response.status == 200
        answers.TaskStatus.model_validate(body)
        assert (body["status"], body["result"], body["minio_files"], body["callback_status"]) == (
            "pending",
            None,
            [],
            None,
        )
        assert body["create_at"] == body["created_at"]
        assert datetime.fromisoformat(body["updated_at"]).tzinfo is not None
    await harness.scheduler.fail_task("t1")
    harness.scheduler.tasks["t1"].callback_status = pb.CALLBACK_STATUS_SENT
    async with harness.http.get("/v1/tasks/t1/status") as response:
        body = await response.json()
        assert response.status == 200, "a failed task is no failed request"
    assert (body["status"], body["message"], body["callback_status"]) == ("failed", "not a video", "sent")
    assert (body["result"]["status"], body["result"]["error"], body["result"]["output"]) == (
        "FAILED",
        "MEDIA_UNREADABLE: not a video",
        None,
    )
    assert body["result"]["error_detail"]["code"] == "MEDIA_UNREADABLE"


STATES = [
    (pb.TASK_STATE_PENDING, "pending", "pending", None),
    (pb.TASK_STATE_BLOCKED, "pending", "blocked", None),
    (pb.TASK_STATE_RUNNING, "running", "running", None),
    (pb.TASK_STATE_CANCELLING, "running", "cancelling", None),
    (pb.TASK_STATE_COMPLETED, "completed", "completed", "SUCCESS"),
    (pb.TASK_STATE_FAILED, "failed", "failed", "FAILED"),
    (pb.TASK_STATE_CANCELLED, "cancelled", "cancelled", "CANCELLED"),
    (pb.TASK_STATE_SKIPPED, "completed", "skipped", "SKIPPED"),
]


@pytest.mark.parametrize(("state", "status", "word", "result"), STATES)
async def test_every_state_has_its_words(
    harness: Harness, state: int, status: str, word: str, result: str | None
) -> None:
    """Each state is shown by the origin's status, its exact name, and its result's status."""
    await harness.submit("t1")
    harness.scheduler.tasks["t1"].state = state  # type: ignore[assignment]
    async with harness.http.get("/v1/tasks/t1/status") as response:
        body = await response.json()
    assert (body["status"], body["state"]) == (status, word)
    assert (body["result"] or {"status": None})["status"] == result
    assert body["message"]


async def test_the_record_shows_everything_and_is_cheap_to_ask_for(harness: Harness) -> None:
    """GET /v1/tasks/{id} has all fields; with its ETag the same answer is 304, and another one after a change."""
    await harness.submit("t1", callback="https://example.com/h", labels={"a": "b"}, priority=3)
    async with harness.http.get("/v1/tasks/t1") as response:
        body = await response.json()
        etag = response.headers["ETag"]
    answers.TaskRecord.model_validate(body)
    assert (body["callback"], body["labels"], body["priority"], body["user"]) == (
        "https://example.com/h", {"a": "b"}, 3, "anonymous",
    )  # fmt: skip
    async with harness.http.get("/v1/tasks/t1", headers={"If-None-Match": f'W/"x", {etag}'}) as response:
        assert (response.status, await response.read()) == (304, b"")
    await harness.scheduler.complete("t1")
    async with harness.http.get("/v1/tasks/t1", headers={"If-None-Match": etag}) as response:
        assert response.status == 200


@pytest.mark.parametrize("path", ["", "/status", "/result", "/events", "/deliveries"])
async def test_an_unknown_task_is_404(harness: Harness, path: str) -> None:
    """Unknown and impossible ids: 404 with TASK_NOT_FOUND."""
    for task_id in ("nobody", "..%2fx", "a%20b", "%ff", "x" * 200):
        async with harness.http.get(f"/v1/tasks/{task_id}{path}") as response:
            assert response.status == 404, task_id
            assert (await response.json())["code"] in ("TASK_NOT_FOUND", "NOT_FOUND")


async def test_cancel(harness: Harness) -> None:
    """A pending task is cancelled at once; a running one answers 202; twice is 400; waiting for the end gives 200."""
    await harness.submit("t1")
    async with harness.http.delete("/v1/tasks/t1") as response:
        assert response.status == 200
        body = await response.json()
        assert (body["task_id"], body["status"], body["state"]) == ("t1", "cancelled", "cancelled")
    async with harness.http.delete("/v1/tasks/t1") as response:
        assert (response.status, (await response.json())["code"]) == (400, "WRONG_STATE")
    await harness.submit("t2")
    await harness.scheduler.happen("t2", pb.TASK_STATE_RUNNING, started=pb.TaskStarted(node="ffmpeg"))

    async def node_stops() -> None:
        await harness.scheduler.wait_watchers(1)
        await harness.scheduler.happen(
            "t2", pb.TASK_STATE_CANCELLED, cancelled=pb.TaskCancelled(reason="asked")
        )

    stops = asyncio.create_task(node_stops())
    async with harness.http.delete("/v1/tasks/t2", headers={"Prefer": "wait=5"}) as response:
        assert response.status == 200
        assert (await response.json())["state"] == "cancelled"
    await stops
    await harness.submit("t3")
    await harness.scheduler.happen("t3", pb.TASK_STATE_RUNNING, started=pb.TaskStarted(node="ffmpeg"))
    async with harness.http.delete("/v1/tasks/t3") as response:
        assert response.status == 202
        body = await response.json()
        assert (body["status"], body["state"]) == ("running", "cancelling")


async def test_a_cancel_that_comes_too_late_says_so(harness: Harness) -> None:
    """A task whose node was done when it heard of the cancellation is completed; 200 would say that it is cancelled."""
    await harness.submit("t1")
    await harness.scheduler.happen("t1", pb.TASK_STATE_RUNNING, started=pb.TaskStarted(node="ffmpeg"))

    async def node_is_done() -> None:
        await harness.scheduler.wait_watchers(1)
        await harness.scheduler.complete("t1")

    done = asyncio.create_task(node_is_done())
    async with harness.http.delete("/v1/tasks/t1", headers={"Prefer": "wait=5"}) as response:
        body = await response.json()
    await done
    assert (response.status, body["code"]) == (400, "WRONG_STATE")
    assert "completed" in body["detail"]


async def test_retry(harness: Harness) -> None:
    """An ended task is submitted again under a new id; one that has not ended is refused."""
    await harness.submit("t1")
    async with harness.http.post("/v1/tasks/t1/retry") as response:
        assert response.status == 400
    await harness.scheduler.fail_task("t1")
    async with harness.http.post("/v1/tasks/t1/retry") as response:
        assert response.status == 202
        assert response.headers["Location"] == "/v1/tasks/t1-retry-0123abcd"
        assert (await response.json())["task_id"] == "t1-retry-0123abcd"


async def test_delete_reports_each_resource(harness: Harness) -> None:
    """POST /delete: the origin's report; unforced on a live task 400; the body may be missing."""
    await harness.submit("t1")
    async with harness.http.post("/v1/tasks/t1/delete") as response:
        assert response.status == 400
    async with harness.http.post("/v1/tasks/t1/delete", json={"force": True}) as response:
        assert response.status == 200
        body = await response.json()
    assert body["status"] == "partial_failed"
    assert [(one["resource"], one["status"], one["retriable"]) for one in body["results"]] == [
        ("redis", "deleted", False), ("minio", "failed", True),
    ]  # fmt: skip
    assert body["results"][0]["details"] == {"keys": 2}
    assert body["warnings"] == ["files may be left"] and body["timestamp"]
    async with harness.http.get("/v1/tasks/t1") as response:
        assert response.status == 404


async def test_list_passes_its_conditions_on(harness: Harness) -> None:
    """Filters, labels, times and page fields arrive in ListTasks; states and statuses are both understood."""
    await harness.submit("t1")
    await harness.submit("t2")
    params = [
        ("status", "running,blocked"), ("status", "failed"), ("task_name", "a.b"), ("user", "x"), ("workflow_id", "w"),
        ("label", "a=1"), ("label", "b=x=y"), ("created_after", "2030-01-01T00:00:00Z"), ("page_size", "7"),
        ("page_token", "tok"),
    ]  # fmt: skip
    async with harness.http.get("/v1/tasks", params=params) as response:
        assert response.status == 200
    asked = harness.scheduler.requests[-1]
    assert set(asked.states) == {
        pb.TASK_STATE_RUNNING, pb.TASK_STATE_CANCELLING, pb.TASK_STATE_BLOCKED, pb.TASK_STATE_FAILED,
    }  # fmt: skip
    assert (asked.task_name, asked.user, asked.workflow_id) == ("a.b", "x", "w")
    assert dict(asked.labels) == {"a": "1", "b": "x=y"}
    assert (asked.page_size, asked.page_token) == (7, "tok")
    assert asked.created_after.ToJsonString() == "2030-01-01T00:00:00Z"
    async with harness.http.get("/v1/tasks") as response:
        body = await response.json()
    answers.TaskPage.model_validate(body)
    assert [task["task_id"] for task in body["tasks"]] == ["t2", "t1"]
    assert body["next_page_token"] == "next"


BAD_QUERIES = [
    ("page_size=0", "?page_size"),
    ("page_size=501", "?page_size"),
    ("page_size=x", "?page_size"),
    ("status=done", "?status"),
    ("label=a", "?label.0"),
    ("created_after=now", "?created_after"),
    ("nonsense=1", "?nonsense"),
    ("user=a&user=b", "?user"),
    ("page_token=other", None),
]


@pytest.mark.parametrize(("query", "pointer"), BAD_QUERIES)
async def test_a_bad_query_is_named(harness: Harness, query: str, pointer: str | None) -> None:
    """Query parameters that do not fit, are unknown or come twice: 400 and their name."""
    async with harness.http.get(f"/v1/tasks?{query}") as response:
        assert response.status == 400
        pointers = [fault["pointer"] for fault in (await response.json())["errors"]]
    assert pointers == ([pointer] if pointer else [])


async def test_supported_tasks_and_task_types(harness: Harness) -> None:
    """The origin's list of names by node, and the full types with their schemas."""
    async with harness.http.get("/v1/tasks/supported-tasks") as response:
        body = await response.json()
    assert body["supported_tasks"] == {
        "ffmpeg": ["ffmpeg.extract_audio"], "indextts": ["indextts.list_voice_presets"],
    }  # fmt: skip
    assert body["total_count"] == 2
    async with harness.http.get("/v1/task-types", params={"node": "ffmpeg"}) as response:
        kinds = (await response.json())["task_types"]
    assert [kind["name"] for kind in kinds] == ["ffmpeg.extract_audio"]
    assert kinds[0]["input_schema"]["required"] == ["video_path"]
    assert (kinds[0]["reuse_field"], kinds[0]["media_fields"]) == ("audio_path", ["/video_path"])


async def test_an_answer_does_not_depend_on_the_order_of_a_map(harness: Harness) -> None:
    """Outputs are shown in name order, at every depth: one task, one ETag; a completed task is at 100 percent."""
    await harness.submit("t1")
    harness.scheduler.tasks["t1"].progress.percent = 95
    await harness.scheduler.complete("t1", {"b": 1, "a": [{"d": 1, "c": 2}], "e": {"g": 1, "f": 2}})
    async with harness.http.get("/v1/tasks/t1/status") as response:
        text = await response.text()
        body = await response.json()
    assert '"output":{"a":[{"c":2,"d":1}],"b":1,"e":{"f":2,"g":1}}' in text
    assert body["progress"]["percent"] == 100
