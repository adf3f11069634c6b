"""The queue scripts against a real Redis, without gRPC: one owner, one end, fair turns, and no harm in repetition."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import redis

from runtime.errors import InvalidArgument, TaskConflict, TooManyTasks, WrongState
from scheduler.admission import AdmittedTask
from scheduler.attempt_store import AttemptStore, Beat, Ending
from scheduler.claim import Claim, ClaimAsk, Claimed
from scheduler.keys import Keys
from scheduler.node_event import NodeEvent
from scheduler.payload import fingerprint
from scheduler.redis_link import RedisLink, connected
from scheduler.settings import LimitsSection, SchedulerSection
from scheduler.task_store import Submitted, TaskStore, cancelled_event, failed_event
from tests.scheduler.conftest import PREFIX, SHORT
from yivideo.task.v1 import task_pb2

ERROR = task_pb2.TaskError(code="WORKER_LOST", message="gone")


@dataclass
class Queue:
    """The stores of one scheduler replica."""

    redis: RedisLink
    tasks: TaskStore
    attempts: AttemptStore
    raw: redis.Redis

    async def submit(self, task_id: str, user: str = "u", **fields: Any) -> str:
        return (await self.submitted(task_id, user, **fields)).word

    async def submitted(
        self,
        task_id: str,
        user: str = "u",
        *,
        slots: int = 0,
        node: str = "media",
        not_before: str = "0",
        start_deadline_ms: int = 0,
        **fields: Any,
    ) -> Submitted:
        """Submit; `slots`: with a claim for one of so many slots."""
        spec = task_pb2.TaskSpec(task_id=task_id, task_name=f"{node}.extract", user=user, **fields)
        admitted = AdmittedTask(
            spec=spec, node=node, sha=fingerprint(spec), not_before=not_before,
            start_deadline_ms=start_deadline_ms, timeout_seconds=60,
            fields={
                "user": user, "node": node, "name": spec.task_name, "workflow": spec.workflow_id or task_id,
                "timeout": "60", "callback": spec.callback_url, "labels": b"",
            },
        )  # fmt: skip
        ask = ClaimAsk("r1", "r1:1", slots, lane=1, most=1) if slots else None
        return await self.tasks.submit(admitted, ask=ask)

    async def ask(
        self, *, replica: str = "r1", slots: int = 1000, node: str = "media", lane: int = 0, most: int = 1
    ) -> Claimed:
        return await self.attempts.claim(node, ClaimAsk(replica, f"{replica}:1", slots, lane, most))

    async def claim(self, **fields: Any) -> Claim:
        (claim,) = (await self.ask(**fields)).claims
        return claim

    async def claim_id(self, **fields: Any) -> str:
        return (await self.claim(**fields)).record.task_id

    async def complete(self, claim: Claim, *events: NodeEvent) -> str:
        done = task_pb2.TaskCompleted(duration_seconds=1)
        ending = Ending("completed", task_pb2.TaskEvent(completed=done), 1.0, result=done)
        return (await self.attempts.end(claim, ending, events)).word

    async def lose_under_work(self, claim: Claim) -> str:
        """Lose the node after it has said that the attempt began."""
        await self.attempts.append(claim, [NodeEvent("event", 1, b"")])
        return await self.lose(claim)

    async def lose(self, claim: Claim) -> str:
        bodies = {
            "retrying": failed_event(ERROR),
            "failed": failed_event(ERROR),
            "cancelled": cancelled_event(""),
        }
        word, _ = await self.attempts.lose(claim, ERROR, 1.0, **bodies)
        return word

    def snapshot(self) -> dict[bytes, Any]:
        """Every key and its whole value but the time of the last word: what a repetition must leave as it was."""
        found: dict[bytes, Any] = {}
        for key in self.raw.scan_iter(PREFIX + "*"):
            assert isinstance(key, bytes)
            if self.raw.type(key) == b"hash":
                fields = self.raw.hgetall(key)
                found[key] = {name: value for name, value in fields.items() if name != b"updated"}  # type: ignore[union-attr]
            elif key != PREFIX.encode() + b"schedulers":
                found[key] = self.raw.dump(key)
        return found


async def _queue(link: RedisLink, raw: redis.Redis, name: str, section: SchedulerSection) -> Queue:
    keys = Keys(PREFIX)
    return Queue(link, TaskStore(link, keys, section, name), AttemptStore(link, keys, section, name), raw)


@pytest.fixture
async def queue(redis_url: str, clean_redis: redis.Redis) -> AsyncIterator[Queue]:
    section = SchedulerSection(
        **{**SHORT, "redis_url": redis_url, "lease_seconds": 15, "scheduler_ttl_seconds": 6},
        limits=LimitsSection(max_running_per_user=2, max_queued_per_user=5, max_queued=8),
    )
    async with connected(section) as link:
        made = await _queue(link, clean_redis, "s1", section)
        await made.attempts.beat([], 5)
        yield made


@pytest.fixture
async def other(redis_url: str, queue: Queue) -> AsyncIterator[Queue]:
    """Another scheduler replica on the same Redis."""
    section = SchedulerSection(
        **{**SHORT, "redis_url": redis_url, "lease_seconds": 15, "scheduler_ttl_seconds": 6}
    )
    async with connected(section) as link:
        made = await _queue(link, queue.raw, "s2", section)
        await made.attempts.beat([], 5)
        yield made


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
    assert (await queue.ask()).word == "empty"
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
    assert sorted(answer.word for answer in answers) == ["claimed", "full", "full", "full"]
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
    assert (submitted.word, submitted.claimed.word, submitted.claimed.claims) == ("created", "full", [])
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
    events = queue.raw.xrange(PREFIX + "t:t1:ev")
    assert len(events) == 2  # type: ignore[arg-type]
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
    """The lease ends a whole lease after the node's last word, and another replica's beat moves nothing."""
    await queue.submit("t1")
    claim = await queue.claim()
    lease = PREFIX + "q:media:lease"
    start = queue.raw.zscore(lease, "t1")
    assert await queue.attempts.beat([Beat("t1", claim.record.fence, 20.0)], 5) == [["kept"]]
    assert queue.raw.zscore(lease, "t1") == start
    assert await other.attempts.beat([Beat("t1", claim.record.fence, 0.0)], 5) == [["lost"]]
    assert await queue.attempts.beat([Beat("t1", claim.record.fence + 1, 0.0)], 5) == [["lost"]]
    assert await queue.attempts.beat([Beat("t1", claim.record.fence, 0.0)], 5) == [["kept"]]
    assert queue.raw.zscore(lease, "t1") >= start  # type: ignore[operator]


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


async def test_counts_return_to_zero(queue: Queue) -> None:
    """After every task has ended and was deleted, nothing is left but the names of nodes and counters at zero."""
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
    assert left <= {"nodes", "fence", "totals", "q:media:turn", "schedulers", "claims:s1"}
    assert queue.raw.hgetall(PREFIX + "totals") == {b"queued": b"0", b"running": b"0"}


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


async def passed(queue: Queue, milliseconds: int) -> int:
    """Wait until the store's clock, by which scripts decide, has passed a moment so far ahead; gives that moment (ms)."""

    def now() -> int:
        seconds, micros = queue.raw.time()  # type: ignore[misc]
        return int(seconds) * 1000 + int(micros) // 1000

    moment = now() + milliseconds
    while now() <= moment:
        await asyncio.sleep(0.001)
    return moment


async def test_a_task_whose_node_was_lost_is_not_too_late_to_start(queue: Queue) -> None:
    """A start deadline concerns the first start: a task that started in time is claimed again when its node is lost after it."""
    deadline = await passed(queue, 1) + 20
    await queue.submit("t1", start_deadline_ms=deadline)
    claim = await queue.claim()
    await passed(queue, 25)
    assert await queue.lose(claim) == "retrying"
    await queue.tasks.abandon("t1")
    assert await queue.claim_id() == "t1"


async def test_a_late_word_of_the_sweeper_does_not_fail_what_has_started(queue: Queue) -> None:
    """A sweeper that saw a task late, and tells so after it was claimed and waits for its next attempt, changes nothing."""
    deadline = await passed(queue, 1) + 20
    await queue.submit("t1", start_deadline_ms=deadline)
    await queue.attempts.retry_later(await queue.claim(), 0, ERROR, task_pb2.TaskEvent(), [])
    await passed(queue, 25)
    await queue.tasks.abandon("t1")
    assert (await queue.tasks.load("t1")).record.state == "pending"


async def test_what_is_submitted_again_after_its_start_deadline_fails_again(queue: Queue) -> None:
    """No task is kept waiting for ever: its start deadline still counts when it runs again, and the sweeper sees it."""
    await queue.submit("t1", start_deadline_ms=await passed(queue, 1))
    await queue.tasks.abandon("t1")
    assert await queue.submit("t1", start_deadline_ms=int(await _deadline(queue, "t1"))) == "again"
    assert (await queue.ask()).word == "empty"
    assert (await queue.attempts.sweep(10)).late == ["t1"]
    await queue.tasks.abandon("t1")
    assert (await queue.tasks.load("t1")).record.state == "failed"


async def _deadline(queue: Queue, name: str) -> bytes:
    value = queue.raw.hget(PREFIX + "t:" + name, "start_deadline")
    assert isinstance(value, bytes)
    return value


async def test_a_replayed_dead_letter_has_no_start_deadline(queue: Queue) -> None:
    """Who replays a dead letter wants it to run now; the moment by which it once had to start is long past."""
    deadline = await passed(queue, 1) + 20
    await queue.submit("t1", start_deadline_ms=deadline)
    for _ in range(3):
        await queue.lose_under_work(await queue.claim())
        await passed(queue, 25)
    await queue.tasks.replay("t1")
    assert await queue.claim_id() == "t1"


async def test_what_is_submitted_again_keeps_its_start_time(queue: Queue) -> None:
    """A cancelled task that was to start later, submitted again, starts later again."""
    await queue.submit("t1", not_before="+60000")
    await queue.tasks.cancel("t1", "", None)
    assert await queue.submit("t1", not_before="+60000") == "again"
    assert (await queue.ask()).word == "empty"
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


async def test_a_claim_repeated_very_late_does_not_find_a_later_attempt(queue: Queue, other: Queue) -> None:
    """Its token finds the attempt that it began, never another one of the same task that the same scheduler began since."""
    await queue.submit("t1")
    sent: list[Any] = []
    run = queue.redis.run

    async def noted(script: str, arguments: Any, **kwargs: Any) -> Any:
        sent.append((script, arguments, kwargs))
        return await run(script, arguments, **kwargs)

    queue.redis.run = noted  # type: ignore[method-assign]
    claim = await queue.claim()
    script, arguments, kwargs = sent[0]
    await queue.lose(claim)
    await queue.claim(replica="r2")
    assert (await run(script, arguments, **kwargs))[0] == b"empty"
