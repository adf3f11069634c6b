"""POST /v1/tasks:batch: each task as a submission of its own would be, whatever the others are."""

from __future__ import annotations

import asyncio
import io
import json
from typing import Any

import pytest

from gateway.use.batch import BatchPlaces, each
from gateway.v1.answers.batch import BatchAnswer
from runtime import errors
from tests.gateway.conftest import Harness, StartHarness
from tests.gateway.test_access import ALICE, BOB, KEYS
from yivideo_client import AsyncClient, Task

VIDEO = {"video_path": "a.mp4"}


def task(task_id: str | None = None, **fields: Any) -> dict[str, Any]:
    named = {} if task_id is None else {"task_id": task_id}
    return {"task_name": "ffmpeg.extract_audio", "input_data": VIDEO, **named, **fields}


async def batch(
    harness: Harness, tasks: list[Any], headers: dict[str, str] | None = None, status: int = 200
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    body = io.BytesIO(json.dumps({"tasks": tasks}).encode())
    headers = {"Content-Type": "application/json"} | (headers or {})
    async with harness.http.post("/v1/tasks:batch", data=body, headers=headers) as response:
        raw = await response.read()
        answer = json.loads(raw)
        assert response.status == status, answer
    if status == 200:
        BatchAnswer.model_validate_json(raw)
    return answer, answer.get("results", [])


def told_of(item: dict[str, Any]) -> tuple[int, str | None, list[str]]:
    """Status, code and pointers of one item."""
    error = item["error"] or {"code": None, "errors": []}
    return item["http_status"], error["code"], [fault["pointer"] for fault in error["errors"]]


async def test_each_task_is_judged_by_itself(harness: Harness) -> None:
    """New, the same again, in conflict, unknown, malformed, no object at all: the answers that single submissions get."""
    await harness.submit("old")
    given = [
        task("new"), task("old"), task("old", priority=5), task("x", task_name="nobody.knows"),
        task("y", priority=101), task("z", input_data="a.mp4"), "no task", task("new"),
        task("last", labels={"a": "b"}),
    ]  # fmt: skip
    answer, results = await batch(harness, given)
    single = []
    for one in (given[0], *given[1:6], given[7]):
        async with harness.http.post("/v1/tasks", json=one) as response:
            body = await response.json()
            single.append(
                (response.status, body.get("code"), [at["pointer"] for at in body.get("errors", ())])
            )
    told = [told_of(item) for item in results]
    assert told[0] == (202, None, []) and single[0][0] == 200, "it was new then"
    assert told[1:6] == single[1:6]
    assert told[6][:2] == (400, "INVALID_ARGUMENT")
    assert told[7] == single[6] == (200, None, [])
    assert (answer["accepted"], answer["reused"], answer["failed"]) == (2, 2, 5)
    assert [item["index"] for item in results] == list(range(9))
    assert results[1]["task"]["reuse_info"]["reuse_hit"] and results[1]["error"] is None
    assert results[8]["task"]["task_id"] == results[8]["task_id"] == "last"
    assert harness.scheduler.tasks["last"].spec.labels == {"a": "b"}


async def test_a_batch_that_is_sent_again_is_the_same_tasks(harness: Harness) -> None:
    """With an Idempotency-Key the place of a task stands for its id; another key, or none, is another batch."""
    _, first = await batch(harness, [task(), task(), task("named")], {"Idempotency-Key": "films"})
    answer, again = await batch(harness, [task(), task(), task("named")], {"Idempotency-Key": "films"})
    assert [item["task_id"] for item in first] == [item["task_id"] for item in again]
    assert (answer["accepted"], answer["reused"]) == (0, 3)
    _, other = await batch(harness, [task()], {"Idempotency-Key": "others"})
    _, nobody = await batch(harness, [task()])
    assert len({item["task_id"] for item in (*first, *other, *nobody)}) == 5


async def test_a_thousand_are_taken_and_one_more_is_refused_as_a_whole(harness: Harness) -> None:
    """The bound is on the request; so is the one on its bytes, which is larger than a single submission's."""
    answer, results = await batch(harness, [task(f"t{n}", labels={"n": "x" * 60}) for n in range(1000)])
    assert (answer["accepted"], len(harness.scheduler.tasks)) == (1000, 1000)
    assert [item["task_id"] for item in results] == [f"t{n}" for n in range(1000)]
    for tasks in ([], [task(f"u{n}") for n in range(1001)]):
        answer, _ = await batch(harness, tasks, status=400)
        assert answer["errors"][0]["pointer"] == "/tasks"
    large = [task("large", input_data={"video_path": "x" * 9_000_000})]
    answer, _ = await batch(harness, large, status=413)
    malformed: tuple[Any, ...] = ({}, {"tasks": {}}, {"tasks": [task()], "more": 1}, [])
    for wrong in malformed:
        async with harness.http.post("/v1/tasks:batch", json=wrong) as response:
            assert response.status == 400
    assert len(harness.scheduler.tasks) == 1000


async def test_a_keys_limit_counts_tasks(start_harness: StartHarness) -> None:
    """Those within the limit are accepted; those past it are refused, each with when to come again; users are the key's."""
    keys = [key.model_copy(update={"rate_limit": "3/minute"}) for key in KEYS]
    async with start_harness(api_keys=tuple(keys)) as harness:
        answer, results = await batch(harness, [task(f"t{n}") for n in range(5)], {"X-API-Key": ALICE})
        assert [item["http_status"] for item in results] == [202, 202, 202, 429, 429]
        assert results[3]["error"]["retry_after_seconds"] > 0 and answer["failed"] == 2
        assert {one.spec.user for one in harness.scheduler.tasks.values()} == {"alice"}
        async with harness.http.get("/v1/tasks", headers={"X-API-Key": ALICE}) as response:
            assert response.status == 429


async def test_a_scheduler_that_is_away_is_told_item_by_item(harness: Harness) -> None:
    """503 for each, with when to try again; nothing of what it is internally."""
    await harness.scheduler_server.drain()
    _, results = await batch(harness, [task("a"), task("b")])
    assert [item["http_status"] for item in results] == [503, 503]
    assert all(item["error"]["retry_after_seconds"] for item in results)
    assert harness.scheduler_address not in str(results)


async def test_the_client_submits_more_than_a_batch_holds(harness: Harness) -> None:
    """`submit_many` against this gateway: 1,100 tasks, one of them unknown; told in order, each stored once."""
    async with AsyncClient(f"http://{harness.address}") as client:
        outcomes = await client.tasks.submit_many(
            task(None, labels={"n": str(n)}, task_name="nobody.knows" if n == 7 else "ffmpeg.extract_audio")
            for n in range(1100)
        )
    assert [n for n, one in enumerate(outcomes) if not isinstance(one, Task)] == [7]
    assert len(harness.scheduler.tasks) == 1099
    last = outcomes[-1]
    assert isinstance(last, Task) and harness.scheduler.tasks[last.task_id].spec.labels == {"n": "1099"}


async def test_slow_bodies_of_one_user_leave_the_others_their_places(start_harness: StartHarness) -> None:
    """Eight bodies that stand still hold their sender's half of the places; another user's batch is taken at once."""
    slow: list[asyncio.StreamWriter] = []
    async with start_harness(api_keys=KEYS) as harness:
        host, _, port = harness.address.partition(":")
        head = (
            f"POST /v1/tasks:batch HTTP/1.1\r\nHost: {harness.address}\r\nX-API-Key: {ALICE}\r\n"
            'Content-Type: application/json\r\nContent-Length: 500000\r\n\r\n{"tasks": ['
        )
        try:
            for _ in range(8):
                _, writer = await asyncio.open_connection(host, int(port))
                slow.append(writer)
                writer.write(head.encode())
                await writer.drain()
            async with harness.http.get("/healthz") as response:
                assert response.status == 200
            async with asyncio.timeout(5):
                answer, _ = await batch(harness, [task("bobs")], {"X-API-Key": BOB})
            assert answer["accepted"] == 1
        finally:
            for writer in slow:
                writer.close()


async def test_places_and_time_are_bounded() -> None:
    """A request without a place is refused in the end; few tasks are under way at once; what was not begun in time is said."""
    places = BatchPlaces(places=1, wait_seconds=0.01)
    async with places.take("alice"):
        with pytest.raises(errors.Unavailable):
            async with places.take("bob"):
                pass
    async with places.take("bob"):
        pass
    assert not places._of_one and not places._comers, "nothing is kept of users who have left"
    now, most, under_way = [0.0], 0, 0

    async def do(index: int, thing: int) -> str:
        nonlocal most, under_way
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        now[0] += 1
        return f"did {thing}"

    made = await each(range(500), do, lambda index: f"late {index}", clock=lambda: now[0], seconds=200)
    assert made[0] == "did 0" and made[-1] == "late 499" and most == 128
    assert len(made) == 500
