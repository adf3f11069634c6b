"""The queue scripts against a real Redis, without gRPC: who is let in, and whose turn it is."""

from __future__ import annotations

import asyncio

import pytest

from runtime.errors import InvalidArgument, TaskConflict, TooManyTasks
from tests.scheduler.queue.harness import Queue
from tests.scheduler.short_times import PREFIX


async def test_submitting_the_same_payload_again_gives_the_task_that_exists(queue: Queue) -> None:
    """Same id and same payload is one task; same id and another payload is a conflict that writes nothing."""
    assert await queue.submit("t1") == "created"
    before = queue.snapshot()
    assert await queue.submit("t1") == "existing"
    with pytest.raises(TaskConflict):
        await queue.submit("t1", priority=3)
    assert queue.snapshot() == before


async def test_users_take_turns(queue: Queue) -> None:
    """A user with one task waits for at most one turn of a user with many, and turns alternate while both have tasks."""
    for n in range(5):
        await queue.submit(f"a{n}", "ann")
    first = await queue.claim_id()
    for n in range(2):
        await queue.submit(f"b{n}", "bob")
    order = [first]
    for _ in range(6):
        claim = await queue.claim()
        order.append(claim.record.task_id)
        await queue.complete(claim)
    assert order[:4] == ["a0", "b0", "a1", "b1"]
    assert order[4:] == ["a2", "a3", "a4"]


async def test_a_user_who_comes_again_and_again_does_not_push_others_aside(queue: Queue) -> None:
    """Leaving the ring and joining it again puts a user behind those who have waited since."""
    await queue.submit("a0", "ann")
    await queue.submit("a1", "ann")
    served = []
    for n in range(4):
        await queue.submit(f"b{n}", "bob")
        claim = await queue.claim()
        served.append(claim.record.user)
        await queue.complete(claim)
    assert served.count("ann") == 2


async def test_priority_orders_a_users_own_tasks_only(queue: Queue) -> None:
    """A higher priority goes first among one user's tasks, equal ones by age, and never passes another user's turn."""
    await queue.submit("a-low", "ann", priority=-5)
    await queue.submit("a-normal", "ann")
    await queue.submit("a-high", "ann", priority=100)
    assert await queue.claim_id() == "a-high"
    await queue.submit("b-low", "bob", priority=-100)
    assert [await queue.claim_id(), await queue.claim_id()] == ["b-low", "a-normal"]


async def test_max_running_holds_a_user_and_lets_others_pass(queue: Queue) -> None:
    """A user at max_running gets nothing more until one of the user's tasks ends; the others go on."""
    for n in range(3):
        await queue.submit(f"a{n}", "ann")
    first = await queue.claim()
    await queue.claim()
    assert (await queue.ask()).outcome == "empty"
    await queue.submit("b0", "bob")
    assert await queue.claim_id() == "b0"
    await queue.complete(first)
    assert await queue.claim_id() == "a2"


async def test_a_replica_never_gets_more_than_its_slots(queue: Queue, other: Queue) -> None:
    """Two schedulers that both see one free slot get one task between them."""
    for n in range(4):
        await queue.submit(f"a{n}", f"u{n}")
    answers = await asyncio.gather(
        *(one.ask(slots=1, lane=lane, most=3) for lane in (0, 1) for one in (queue, other))
    )
    assert sorted(answer.outcome for answer in answers) == ["claimed", "full", "full", "full"]
    assert sum(len(answer.claims) for answer in answers) == 1


async def test_a_submit_takes_what_is_first_not_what_it_brought(queue: Queue) -> None:
    """A free slot known to a submit goes to whose turn it is; the new task waits, and the answer says that one is ready."""
    await queue.submit("waiting", "ann")
    submitted = await queue.submitted("new", "bob", slots=5)
    assert [claim.record.task_id for claim in submitted.claimed.claims] == ["waiting"]
    assert submitted.claimed.ready and submitted.state == "pending"
    assert await queue.claim_id() == "new"


async def test_a_submit_into_full_slots_is_stored(queue: Queue) -> None:
    """A slot that was free when the call left and is not any more costs nothing: the task waits."""
    await queue.submit("one")
    await queue.claim(slots=1)
    submitted = await queue.submitted("two", slots=1)
    assert (submitted.outcome, submitted.claimed.outcome, submitted.claimed.claims) == ("created", "full", [])
    assert submitted.claimed.may_be_more
    assert await queue.claim_id(slots=2) == "two"


async def test_one_claim_takes_several_in_turn(queue: Queue) -> None:
    """Users take turns within one claim too, and it passes no limit."""
    for n in range(3):
        await queue.submit(f"a{n}", "ann")
    await queue.submit("b0", "bob")
    claimed = await queue.ask(most=9)
    assert [claim.record.task_id for claim in claimed.claims] == ["a0", "b0", "a1"]
    assert not claimed.may_be_more, "ann's third waits for the end of another: who ends it looks again"


async def test_too_many_waiting_tasks_are_refused(queue: Queue) -> None:
    """max_queued of a user and of all refuse a submit with a time to come back, and nothing is written."""
    for n in range(5):
        await queue.submit(f"a{n}", "ann")
    before = queue.snapshot()
    with pytest.raises(TooManyTasks) as refused:
        await queue.submit("a5", "ann")
    assert refused.value.retry_after_seconds == 5
    assert queue.snapshot() == before
    for n in range(3):
        await queue.submit(f"b{n}", "bob")
    with pytest.raises(TooManyTasks):
        await queue.submit("c0", "cid")
    await queue.claim()
    await queue.submit("c0", "cid")


async def test_an_unknown_dependency_is_refused(queue: Queue) -> None:
    """A task may only wait for tasks that exist and belong to the same user."""
    await queue.submit("b0", "bob")
    for dependency in ("nobody", "b0"):
        with pytest.raises(InvalidArgument) as refused:
            await queue.submit("a0", "ann", depends_on=[dependency])
        assert refused.value.fields[0].pointer == "/depends_on/0"


async def test_counts_return_to_zero(queue: Queue) -> None:
    """After every task has ended and was deleted, nothing is left but names of nodes, counters at zero, and where events lay."""
    for n in range(4):
        await queue.submit(f"t{n}", f"u{n % 2}")
    await queue.submit("t4", "u0", depends_on=["t0"])
    await queue.complete(await queue.claim())
    await queue.lose(await queue.claim())
    await queue.tasks.cancel("t3", "", None)
    for _ in range(2):
        await queue.complete(await queue.claim())
    await queue.tasks.settle("t0")
    await queue.complete(await queue.claim())
    for n in range(5):
        assert await queue.tasks.delete(f"t{n}") == "deleted", n
    left = {key.decode().removeprefix(PREFIX) for key in queue.raw.scan_iter(PREFIX + "*")}
    assert left <= {"nodes", "fence", "totals", "q:media:turn", "schedulers", "claims:s1", "feed"}
    assert queue.raw.hgetall(PREFIX + "totals") == {b"queued": b"0", b"running": b"0"}
