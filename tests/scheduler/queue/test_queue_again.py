"""The queue scripts against a real Redis, without gRPC: start deadlines and dependencies, also of what runs again."""

from __future__ import annotations

import asyncio

from scheduler.queue.bindings import Source, Want
from tests.scheduler.queue.harness import ERROR, Queue
from tests.scheduler.short_times import PREFIX
from yivideo.task.v1 import task_pb2


async def passed(queue: Queue, milliseconds: int) -> int:
    """Wait until the store's clock, by which scripts decide, has passed a moment so far ahead; gives that moment (ms)."""

    def now() -> int:
        seconds, micros = queue.raw.time()
        return int(seconds) * 1000 + int(micros) // 1000

    moment = now() + milliseconds
    while now() <= moment:
        await asyncio.sleep(0.001)
    return moment


async def _deadline(queue: Queue, name: str) -> bytes:
    value = queue.raw.hget(PREFIX + "t:" + name, "start_deadline")
    assert isinstance(value, bytes)
    return value


async def test_a_deleted_dependency_fails_those_that_wait_for_it(queue: Queue) -> None:
    """Failure of a dependency, its deletion included, travels down the whole chain."""
    await queue.submit("t1")
    await queue.submit("t2", depends_on=["t1"])
    await queue.submit("t3", depends_on=["t2"])
    await queue.tasks.cancel("t1", "", None)
    for name in ("t2", "t3"):
        stored = await queue.tasks.load(name)
        assert stored.record.state == "failed"
        assert task_pb2.TaskError.FromString(stored.record.error).code == "DEPENDENCY_FAILED"


async def test_a_task_waits_for_all_that_it_depends_on(queue: Queue) -> None:
    """One of two that has completed is not enough, whichever it is."""
    await queue.submit("t1")
    await queue.submit("t2")
    await queue.submit("t3", depends_on=["t1", "t2"])
    for name in ("t1", "t2"):
        stored = await queue.tasks.load("t3")
        assert stored.record.state == "blocked"
        claim = await queue.claim()
        assert claim.record.task_id == name
        await queue.complete(claim)
        await queue.tasks.settle(name)
    assert await queue.claim_id() == "t3"


async def test_an_expired_task_stays_until_those_that_wait_for_it_know_its_end(queue: Queue) -> None:
    """A scheduler may die between a task's end and telling it to the tasks that wait; however late that is, they run."""
    await queue.submit("t1")
    await queue.submit("t2", depends_on=["t1"])
    await queue.complete(await queue.claim())
    queue.raw.zadd(PREFIX + "expiry", {"t1": 1})
    swept = await queue.attempts.sweep(10)
    assert (swept.settle, swept.erased) == (["t1"], 0)
    await queue.tasks.settle("t1")
    assert await queue.claim_id() == "t2"
    assert (await queue.attempts.sweep(10)).erased == 1


async def test_a_task_whose_node_was_lost_is_not_too_late_to_start(queue: Queue) -> None:
    """A start deadline concerns the first start: a task that started in time is claimed again when its node is lost after it."""
    deadline = await passed(queue, 1) + 300
    await queue.submit("t1", start_deadline_ms=deadline)
    claim = await queue.claim()
    await passed(queue, 305)
    assert await queue.lose(claim) == "retrying"
    await queue.tasks.abandon("t1")
    assert await queue.claim_id() == "t1"


async def test_a_late_word_of_the_sweeper_does_not_fail_what_has_started(queue: Queue) -> None:
    """A sweeper that saw a task late, and tells so after it was claimed and waits for its next attempt, changes nothing."""
    deadline = await passed(queue, 1) + 300
    await queue.submit("t1", start_deadline_ms=deadline)
    await queue.attempts.retry_later(await queue.claim(), 0, ERROR, task_pb2.TaskEvent(), [])
    await passed(queue, 305)
    await queue.tasks.abandon("t1")
    assert (await queue.tasks.load("t1")).record.state == "pending"


async def test_what_is_submitted_again_after_its_start_deadline_fails_again(queue: Queue) -> None:
    """No task is kept waiting for ever: its start deadline still counts when it runs again, and the sweeper sees it."""
    await queue.submit("t1", start_deadline_ms=await passed(queue, 1))
    await queue.tasks.abandon("t1")
    assert await queue.submit("t1", start_deadline_ms=int(await _deadline(queue, "t1"))) == "again"
    assert (await queue.ask()).outcome == "empty"
    assert (await queue.attempts.sweep(10)).late == ["t1"]
    await queue.tasks.abandon("t1")
    assert (await queue.tasks.load("t1")).record.state == "failed"


async def test_a_replayed_dead_letter_has_no_start_deadline(queue: Queue) -> None:
    """Who replays a dead letter wants it to run now; the moment by which it once had to start is long past."""
    deadline = await passed(queue, 1) + 300
    await queue.submit("t1", start_deadline_ms=deadline)
    for _ in range(3):
        await queue.lose_under_work(await queue.claim())
        await passed(queue, 305)
    await queue.tasks.replay("t1")
    assert await queue.claim_id() == "t1"


async def test_what_is_submitted_again_keeps_its_start_time(queue: Queue) -> None:
    """A cancelled task that was to start later, submitted again, starts later again."""
    await queue.submit("t1", not_before="+60000")
    await queue.tasks.cancel("t1", "", None)
    assert await queue.submit("t1", not_before="+60000") == "again"
    assert (await queue.ask()).outcome == "empty"
    assert queue.raw.zcard(PREFIX + "q:media:delayed") == 1


async def test_what_is_submitted_again_waits_for_its_dependencies_again(queue: Queue) -> None:
    """A task that failed with its dependency, submitted again, waits for the dependency's next run, or fails with it again."""
    await queue.submit("t1")
    await queue.submit("t2", depends_on=["t1"])
    await queue.tasks.cancel("t1", "", None)
    assert await queue.submit("t2", depends_on=["t1"]) == "again"
    assert (await queue.tasks.load("t2")).record.state == "failed"
    await queue.submit("t1")
    assert await queue.submit("t2", depends_on=["t1"]) == "again"
    assert (await queue.tasks.load("t2")).record.state == "blocked"
    await queue.complete(await queue.claim())
    await queue.tasks.settle("t1")
    assert await queue.claim_id() == "t2"


async def test_what_is_submitted_again_takes_its_fields_from_what_is_there_now(queue: Queue) -> None:
    """A field that was filled from another task's output is not, once that task is gone and the same payload runs again."""
    wanted = Want("stages", "media.extract", "/audio_path")
    sources = (Source("/audio_path", (wanted,), fill=True, required=False),)
    await queue.submit("up", workflow_id="w")
    await queue.submit("t", workflow_id="w", sources=sources)
    assert b'"up"' in (await queue.tasks.load("t")).record.bindings
    await queue.tasks.cancel("t", "", None)
    await queue.tasks.cancel("up", "", None)
    await queue.tasks.delete("up")
    assert await queue.submit("t", workflow_id="w", sources=sources) == "again"
    assert (await queue.tasks.load("t")).record.bindings == b""


async def test_a_request_that_was_held_up_does_not_run_an_ended_task_again(queue: Queue) -> None:
    """Who asked before the task was cancelled gets the cancelled task; who asks afterwards, or does not say when, runs it again."""
    asked = await passed(queue, 0)
    await queue.submit("t1")
    await passed(queue, 1)
    await queue.tasks.cancel("t1", "", None)
    late = await queue.submitted("t1", asked_ms=asked, slots=5)
    assert (late.outcome, late.state, late.claimed.claims) == ("existing", "cancelled", [])
    assert await queue.submit("t1", asked_ms=await passed(queue, 1)) == "again"
    await queue.tasks.cancel("t1", "", None)
    assert await queue.submit("t1") == "again"
