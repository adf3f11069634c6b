"""A state machine against the queue scripts: whatever is done in whatever order, and however often repeated, the laws hold.

Laws: a task is in one place only; fences grow; an attempt that was superseded changes nothing; the newest can always end; the
counts that limits rest on are those of the tasks.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from scheduler.attempt_store import AttemptStore, Claim
from scheduler.keys import Keys
from scheduler.redis_link import RedisLink
from scheduler.settings import LimitsSection, SchedulerSection
from scheduler.task_store import TaskStore
from tests.scheduler.conftest import PREFIX, SHORT
from tests.scheduler.test_queue import ERROR, Queue
from yivideo.task.v1 import task_pb2

NAMES = [f"t{n}" for n in range(6)]
USERS = ["ann", "bob"]
MAX_RUNNING = 1


class QueueMachine(RuleBasedStateMachine):
    """Random steps of clients, nodes and sweepers on one queue."""

    url = ""
    claims = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.raw = redis.Redis.from_url(self.url)
        self.raw.flushdb()
        section = SchedulerSection(
            **{**SHORT, "redis_url": self.url, "lease_seconds": 60, "scheduler_ttl_seconds": 60},
            limits=LimitsSection(max_running_per_user=MAX_RUNNING),
        )
        self.link = RedisLink(section)
        keys = Keys(PREFIX)
        self.queue = Queue(
            self.link,
            TaskStore(self.link, keys, section, "s1"),
            AttemptStore(self.link, keys, section, "s1"),
            self.raw,
        )
        self.do(self.queue.attempts.beat([], 5))
        self.fence = 0
        self.current: dict[str, int] = {}
        self.latest: dict[str, Claim] = {}

    def do(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def teardown(self) -> None:
        self.do(self.link.aclose())
        self.raw.close()
        self.loop.close()

    def state(self, name: str) -> str:
        value = self.raw.hget(PREFIX + "t:" + name, "state")
        return value.decode() if isinstance(value, bytes) else ""

    @rule(name=st.sampled_from(NAMES), priority=st.integers(-2, 2), after=st.sampled_from([None, *NAMES]))
    def submit(self, name: str, priority: int, after: str | None) -> None:
        user = USERS[int(name[1]) % 2]
        depends = (
            [after]
            if after and after != name and self.state(after) and USERS[int(after[1]) % 2] == user
            else []
        )
        try:
            self.do(self.queue.submit(name, user, priority=priority, depends_on=depends))
        except Exception as error:
            assert type(error).__name__ == "TaskConflict"
        for dependency in depends:
            self.do(self.queue.tasks.settle(dependency))

    @rule(target=claims, slots=st.integers(1, 4))
    def claim(self, slots: int) -> Any:
        answer = self.do(self.queue.attempts.claim("media", "r1", "r1:1", slots))
        if not isinstance(answer, Claim):
            return multiple()
        assert answer.record.fence > self.fence, "fences grow over all tasks"
        self.fence = answer.record.fence
        self.current[answer.record.task_id] = answer.record.fence
        self.latest[answer.record.task_id] = answer
        return answer

    def _check(self, claim: Claim, word: str) -> None:
        """Only the newest attempt of a task may have had an effect."""
        if word not in ("stale", "again"):
            assert self.current.get(claim.record.task_id) == claim.record.fence

    @rule(claim=consumes(claims))
    def complete(self, claim: Claim) -> None:
        word = self.do(self.queue.complete(claim))
        self._check(claim, word)
        if word == "ended":
            self.do(self.queue.tasks.settle(claim.record.task_id))

    @rule(name=st.sampled_from(NAMES))
    def complete_the_newest(self, name: str) -> None:
        if self.state(name) in ("running", "cancelling"):
            assert self.do(self.queue.complete(self.latest[name])) == "ended"
            self.do(self.queue.tasks.settle(name))

    @rule(claim=claims)
    def lose(self, claim: Claim) -> None:
        self._check(claim, self.do(self.queue.lose(claim)))
        self.do(self.queue.tasks.settle(claim.record.task_id))

    @rule(claim=claims)
    def hand_back(self, claim: Claim) -> None:
        word = self.do(self.queue.attempts.hand_back(claim))
        if word != "pending" or self.state(claim.record.task_id) != "pending":
            self._check(claim, word)

    @rule(claim=consumes(claims), delay=st.sampled_from([0.0, 100.0]))
    def retry(self, claim: Claim, delay: float) -> None:
        self.do(self.queue.attempts.retry_later(claim, delay, ERROR, task_pb2.TaskEvent(), []))

    @rule(name=st.sampled_from(NAMES))
    def cancel(self, name: str) -> None:
        try:
            self.do(self.queue.tasks.cancel(name, "", None))
        except Exception as error:
            assert type(error).__name__ in ("TaskNotFound", "WrongState")

    @rule(name=st.sampled_from(NAMES))
    def delete(self, name: str) -> None:
        self.do(self.queue.tasks.delete(name))

    @rule()
    def sweep(self) -> None:
        found = self.do(self.queue.attempts.sweep(10))
        for name in found.settle:
            self.do(self.queue.tasks.settle(name))

    @invariant()
    def every_task_is_where_its_state_says(self) -> None:
        ids = {
            place: set(self.raw.zrange(f"{PREFIX}q:media:{place}", 0, -1))
            for place in ("ready", "delayed", "blocked", "lease")
        }
        queued = dict.fromkeys(USERS, 0)
        running = dict.fromkeys(USERS, 0)
        for name in NAMES:
            state, user = self.state(name), USERS[int(name[1]) % 2]
            places = {place for place, members in ids.items() if name.encode() in members}
            live = [{"lease"}]
            expected = {
                "blocked": [{"blocked"}],
                "pending": [{"ready"}, {"delayed"}],
                "running": live,
                "cancelling": live,
            }
            assert places in expected.get(state, [set()]), (name, state, places)
            queued[user] += state in ("pending", "blocked")
            running[user] += state in ("running", "cancelling")
            in_user_queue = self.raw.zscore(f"{PREFIX}q:media:u:{user}", name) is not None
            assert in_user_queue == (places == {"ready"})
        for user in USERS:
            counts = self.raw.hgetall(f"{PREFIX}u:{user}:count")
            assert int(counts.get(b"queued", 0)) == queued[user]  # type: ignore[union-attr]
            assert int(counts.get(b"running", 0)) == running[user] <= MAX_RUNNING  # type: ignore[union-attr]

    @invariant()
    def who_has_ready_tasks_is_in_the_ring_or_held(self) -> None:
        for user in USERS:
            ready = self.raw.zcard(f"{PREFIX}q:media:u:{user}")
            in_ring = self.raw.zscore(f"{PREFIX}q:media:users", user) is not None
            held = bool(self.raw.sismember(f"{PREFIX}u:{user}:held", "media"))
            assert (in_ring != held) if ready else not (in_ring or held), (user, ready, in_ring, held)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_laws_hold_in_every_order(redis_url: str) -> None:
    """Hypothesis looks for an order of steps that breaks a law."""

    class Machine(QueueMachine):
        url = redis_url

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=100, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
