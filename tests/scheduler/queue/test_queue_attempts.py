"""The queue scripts against a real Redis, without gRPC: an attempt has one owner and one end, and no repetition does harm."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from runtime.errors import WrongState
from scheduler.callbacks.outbox import Outbox
from scheduler.queue.attempt_store import Beat, Ending
from scheduler.queue.keys import Keys
from scheduler.queue.node_event import NodeEvent
from tests.scheduler.queue.harness import ERROR, Queue
from tests.scheduler.short_times import PREFIX
from yivideo.task.v1 import task_pb2


async def test_fences_grow_over_all_tasks_and_a_stale_one_writes_nothing(queue: Queue) -> None:
    """Every attempt's fence is above all earlier ones; after a loss the old attempt can neither append nor end."""
    await queue.submit("t1")
    await queue.submit("t2")
    old, two = await queue.claim(), await queue.claim()
    assert await queue.lose(old) == "retrying"
    new = await queue.claim()
    assert new.record.task_id == old.record.task_id and new.record.attempt == 2
    assert old.record.fence < two.record.fence < new.record.fence
    before = queue.snapshot()
    assert await queue.attempts.append(old, [NodeEvent("event", 9, b"")]) == "stale"
    assert await queue.complete(old) == "stale"
    assert await queue.lose(old) == "stale"
    assert await queue.attempts.hand_back(old) == "stale"
    assert await queue.attempts.retry_later(old, 0, ERROR, task_pb2.TaskEvent(), []) == "stale"
    assert queue.snapshot() == before
    assert await queue.complete(new) == "ended"


async def test_an_attempt_that_never_began_is_not_held_against_its_task(queue: Queue) -> None:
    """Nodes that are lost before their first word do not make a dead letter; yet work that kills its node at once is not tried for
    ever: after `max_never_begun` it is one. A replay begins both counts anew.
    """

    async def count() -> int:
        return (await queue.tasks.load("t1")).record.lost

    await queue.submit("t1")
    for _ in range(2):
        assert await queue.lose_under_work(await queue.claim()) == "retrying"
    for _ in range(9):
        assert await queue.lose(await queue.claim()) == "retrying"
    assert await count() == 2
    assert await queue.lose(await queue.claim()) == "failed"
    await queue.tasks.replay("t1")
    assert await count() == 0
    assert await queue.lose(await queue.claim()) == "retrying"
    for word in ("retrying", "retrying", "failed"):
        assert await queue.lose_under_work(await queue.claim()) == word


async def test_a_rewound_store_cannot_issue_a_fence_twice(queue: Queue) -> None:
    """Even when the fence counter is lost, the next fence is above every earlier one: it follows the server's clock."""
    await queue.submit("t1")
    first = await queue.claim()
    queue.raw.delete(PREFIX + "fence")
    await queue.submit("t2")
    assert (await queue.claim()).record.fence > first.record.fence


async def test_each_script_repeated_after_a_lost_answer_is_harmless(queue: Queue) -> None:
    """The second call of the same step answers the same and changes nothing, whatever the step."""
    sent: list[tuple[str, Any, Any]] = []
    run = queue.redis.run

    async def twice(script: str, arguments: Any, **kwargs: Any) -> Any:
        answer = await run(script, arguments, **kwargs)
        before = queue.snapshot()
        repeated = await run(script, arguments, **kwargs)
        sent.append((script, answer, repeated))
        assert queue.snapshot() == before, script
        return answer

    queue.redis.run = twice  # type: ignore[method-assign]
    await queue.submit("t1", callback_url="http://example.com/")
    claim = await queue.claim()
    await queue.attempts.append(claim, [NodeEvent("event", 1, b""), NodeEvent("progress", 2, b"")])
    await queue.attempts.keep_input(claim, task_pb2.TaskSpec())
    await queue.attempts.hand_back(claim)
    claim = await queue.claim()
    await queue.attempts.retry_later(claim, 0, ERROR, task_pb2.TaskEvent(), [NodeEvent("event", 3, b"")])
    claim = await queue.claim()
    await queue.tasks.cancel("t1", "why", None)
    cancelled = task_pb2.TaskEvent(cancelled=task_pb2.TaskCancelled())
    await queue.attempts.end(claim, Ending("cancelled", cancelled, 1), [])
    await queue.submit("t1", callback_url="http://example.com/")
    claim = await queue.claim()
    for _ in range(2):
        await queue.lose_under_work(claim)
        claim = await queue.claim()
    await queue.lose_under_work(claim)
    await queue.tasks.replay("t1")
    await queue.complete(await queue.claim())
    await queue.submit("t2")
    await queue.tasks.cancel("t2", "why", 1.0)
    await queue.tasks.delete("t2")
    await queue.attempts.sweep(10)
    for script, answer, repeated in sent:
        if script == "sweep":
            continue  # it says how long until the next thing is due
        if script in ("lose", "end", "delete"):  # these say that it was done before
            assert repeated[0] in (answer[0], b"stale", b"again", b"missing"), script
        elif script == "claim":
            assert repeated[1] == answer[1]
        else:
            assert repeated == answer, script
    assert {name for name, _, _ in sent} >= {
        "submit",
        "claim",
        "append",
        "end",
        "hand_back",
        "lose",
        "cancel",
        "replay",
    }


async def test_the_terminal_event_comes_exactly_once(queue: Queue) -> None:
    """However often and from however many sides the end is reported, one terminal event and one callback exist."""
    await queue.submit("t1", callback_url="http://example.com/")
    claim = await queue.claim()
    words = await asyncio.gather(*(queue.complete(claim) for _ in range(8)))
    assert sorted(words) == ["again"] * 7 + ["ended"]
    events: Any = queue.raw.xrange(PREFIX + "t:t1:ev")
    assert len(events) == 2
    assert queue.raw.zcard(PREFIX + "outbox") == 1
    with pytest.raises(WrongState):
        await queue.tasks.cancel("t1", "", None)


async def test_a_handed_back_attempt_is_not_counted_and_keeps_its_place(queue: Queue) -> None:
    """After a hand-back the task is first again in its user's queue, and the next attempt has the same number."""
    await queue.submit("t1", "ann")
    await queue.submit("t2", "ann")
    claim = await queue.claim()
    assert await queue.attempts.hand_back(claim) == "pending"
    again = await queue.claim()
    assert (again.record.task_id, again.record.attempt, again.record.tries) == ("t1", 1, 1)
    assert again.record.fence > claim.record.fence


async def test_a_beat_renews_only_what_was_heard_and_only_for_its_owner(queue: Queue, other: Queue) -> None:
    """The lease ends a whole lease after the node's last message, and another replica's beat moves nothing."""
    await queue.submit("t1")
    claim = await queue.claim()
    lease = PREFIX + "q:media:lease"
    start: Any = queue.raw.zscore(lease, "t1")
    assert await queue.attempts.beat([Beat("t1", claim.record.fence, 20.0)], 5) == [["kept"]]
    assert queue.raw.zscore(lease, "t1") == start
    assert await other.attempts.beat([Beat("t1", claim.record.fence, 0.0)], 5) == [["lost"]]
    assert await queue.attempts.beat([Beat("t1", claim.record.fence + 1, 0.0)], 5) == [["lost"]]
    assert await queue.attempts.beat([Beat("t1", claim.record.fence, 0.0)], 5) == [["kept"]]
    assert (queue.raw.zscore(lease, "t1") or 0) >= start


async def test_only_an_attempt_without_a_living_owner_is_adopted(queue: Queue, other: Queue) -> None:
    """A task is adopted when its lease has lapsed or its scheduler is dead, by one replica, and keeps attempt and fence."""
    await queue.submit("t1")
    claim = await queue.claim()
    assert await other.attempts.adopt("t1") is None
    queue.raw.zadd(PREFIX + "schedulers", {"s1": 0})
    assert [name for name, _ in (await other.attempts.sweep(10)).adopt] == ["t1"]
    adopted = await other.attempts.adopt("t1")
    assert adopted is not None
    assert (adopted.record.attempt, adopted.record.fence) == (1, claim.record.fence)
    assert await queue.attempts.adopt("t1") is None
    assert await queue.attempts.beat([Beat("t1", claim.record.fence, 0.0)], 5) == [["lost"]]
    assert await queue.lose(claim) == "stale", "only the owner may give an attempt up"
    assert await queue.complete(claim) == "ended", "but the work of the same attempt counts, whoever heard it"


def noting(queue: Queue) -> tuple[Any, list[Any]]:
    """Have the queue's script calls noted; gives what makes them, and the notes, to repeat them word for word."""
    sent: list[Any] = []
    run = queue.redis.run

    async def noted(script: str, arguments: Any, **kwargs: Any) -> Any:
        sent.append((script, arguments, kwargs))
        return await run(script, arguments, **kwargs)

    queue.redis.run = noted  # type: ignore[method-assign]
    return run, sent


async def test_a_claim_repeated_very_late_does_not_find_a_later_attempt(queue: Queue, other: Queue) -> None:
    """Its token finds the attempt that it began, never another one of the same task that the same scheduler began since."""
    await queue.submit("t1")
    run, sent = noting(queue)
    claim = await queue.claim()
    script, arguments, kwargs = sent[0]
    await queue.lose(claim)
    await queue.claim(replica="r2")
    assert (await run(script, arguments, **kwargs))[0] == b"empty"


async def test_a_dead_letter_is_kept_by_its_node_until_it_is_replayed(queue: Queue) -> None:
    """A task that loses its nodes too often is found among all dead letters and among its node's; a replay takes it from both."""
    indexes = (PREFIX + "dead", PREFIX + "q:media:dead")
    await queue.submit("t1")
    words = [await queue.lose_under_work(await queue.claim()) for _ in range(3)]
    assert words == ["retrying", "retrying", "failed"]
    assert [queue.raw.zrange(index, 0, -1) for index in indexes] == [[b"t1"]] * 2
    await queue.tasks.replay("t1")
    assert [queue.raw.zrange(index, 0, -1) for index in indexes] == [[]] * 2


async def test_a_delivery_asked_for_by_hand_is_not_ended_by_one_that_was_given_up(queue: Queue) -> None:
    """Who held a callback for too long has lost it: its late word does not count for the delivery that was asked for since."""
    outbox = Outbox(queue.redis, Keys(PREFIX))
    await queue.submit("t1", callback_url="http://example.com/")
    await queue.complete(await queue.claim())
    (old,), _ = await outbox.take(1, hold_seconds=0)
    await outbox.redeliver("t1")
    await outbox.settle(old, "sent", task_pb2.Delivery())
    (due,), _ = await outbox.take(1, hold_seconds=60)
    assert (due.task_id, due.tries) == ("t1", 0)
    log = await outbox.deliveries("t1")
    assert (log.status, list(log.deliveries)) == (task_pb2.CALLBACK_STATUS_PENDING, [])


async def test_the_log_of_a_callback_agrees_with_its_state_at_every_instant(queue: Queue) -> None:
    """Read while a delivery is recorded, a log shows both the delivery and what followed from it, or neither."""
    outbox = Outbox(queue.redis, Keys(PREFIX))
    for number in range(50):
        task_id = f"t{number}"
        await queue.submit(task_id, callback_url="http://example.com/")
        await queue.complete(await queue.claim())
        (due,), _ = await outbox.take(1, hold_seconds=60)
        settled = asyncio.create_task(outbox.settle(due, "sent", task_pb2.Delivery()))
        while not settled.done():
            log = await outbox.deliveries(task_id)
            assert (log.status == task_pb2.CALLBACK_STATUS_SENT) == bool(log.deliveries)
        await settled


async def test_claims_of_two_lanes_are_repeated_side_by_side(queue: Queue) -> None:
    """Calls that are under way for one replica at once do not forget one another's: each, repeated, finds what it took."""
    for name in ("t1", "t2", "t3"):
        await queue.submit(name, user=name)
    run, sent = noting(queue)
    taken = [(await queue.claim(lane=lane)).record.task_id for lane in (0, 1)]
    before = queue.snapshot()
    repeated = [await run(script, arguments, **kwargs) for script, arguments, kwargs in sent]
    assert [answer[2][0].decode() for answer in repeated] == taken == ["t1", "t2"]
    assert queue.snapshot() == before
