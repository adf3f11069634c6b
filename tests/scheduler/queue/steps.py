"""What can be done to a queue, each step on the real scripts and on the model: the wiring, and what clients do."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict, deque
from typing import Any

import redis

from redislink.lua import Library
from results.states import TERMINAL_STATES
from runtime.errors import InvalidArgument, TaskConflict, TaskNotFound, TooManyTasks, WrongState
from scheduler.callbacks.outbox import DueCallback, Outbox
from scheduler.queue.admission import AdmittedTask
from scheduler.queue.attempt_store import AttemptStore
from scheduler.queue.claim import Claim, ClaimAsk, Claimed
from scheduler.queue.keys import Keys
from scheduler.queue.redis_link import RedisLink
from scheduler.queue.task_store import TaskStore
from scheduler.settings import LimitsSection, SchedulerSection
from tests.scheduler.queue import laws
from tests.scheduler.queue import model as m
from tests.scheduler.short_times import PREFIX, SHORT
from yivideo.task.v1 import task_pb2

PLACES = {
    "a0": "media", "a1": "media", "a2": "voice", "b0": "media", "b1": "media", "b2": "voice", "c0": "media", "c1": "media",
}  # fmt: skip
"""Tasks and their nodes; the first letter is the user."""
NAMES = sorted(PLACES)
SCHEDULERS = ("s1", "s2")


class QueueSteps:
    """One installation under test: real scripts, and the model that says what they must do. Knows no Hypothesis."""

    def __init__(self, url: str, library: Library | None, coverage: Counter[str]) -> None:
        self.coverage = coverage
        self.loop = asyncio.new_event_loop()
        self.raw = redis.Redis.from_url(url)
        self.raw.flushdb()
        section = SchedulerSection(
            **{**SHORT, "redis_url": url, "lease_seconds": m.LEASE_MS / 1000, "max_worker_lost": m.MAX_LOST,
               "max_never_begun": m.MAX_NEVER_BEGUN,
               "scheduler_ttl_seconds": m.SCHEDULER_TTL_MS / 1000, "result_ttl_seconds": m.RESULT_TTL_MS / 1000},
            limits=LimitsSection(
                max_running_per_user=m.MAX_RUNNING_PER_USER, max_running=m.MAX_RUNNING,
                max_queued_per_user=m.MAX_QUEUED_PER_USER, max_queued=m.MAX_QUEUED,
            ),
        )  # fmt: skip
        self.link = RedisLink(section, library)
        self.run_script, self.link.run = self.link.run, self.once_or_twice  # type: ignore[method-assign]
        keys = Keys(PREFIX)
        self.clients = TaskStore(self.link, keys, section, "s1")
        self.replicas = {name: AttemptStore(self.link, keys, section, name) for name in SCHEDULERS}
        self.outbox = Outbox(self.link, keys)
        self.model = m.QueueModel()
        self.claims: dict[tuple[str, int], Claim] = {}
        self.calls: dict[str, tuple[Any, ...]] = {}
        self.claim_calls: deque[tuple[Any, ...]] = deque(maxlen=6)
        """The last claims that took something, with what their repetition needs."""
        self.nonces = 0
        self.highest_fence = 0
        self.latest_us = self.model.now_us
        self.twice = False
        self.saved: tuple[m.QueueModel, dict[bytes, bytes]] | None = None
        self.held_callbacks: dict[str, DueCallback] = {}
        self.ring: dict[str, float] = {}
        """The users' turns just before the claim under way; empty when it is a repetition."""
        self.turns_served = 0
        self.turn_of: dict[int, float] = {}
        """By fence, the turn that its claim used."""
        self.overtaken: dict[tuple[str, str, str], int] = defaultdict(int)
        self.set_clock()

    def close(self) -> None:
        self.do(self.link.aclose())
        self.raw.close()
        self.loop.close()

    # How steps are made

    def do(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def set_clock(self) -> None:
        self.latest_us = max(self.latest_us, self.model.now_us)
        self.raw.set(laws.CLOCK, self.model.now_us)

    async def once_or_twice(self, script: str, arguments: Any, **kwargs: Any) -> Any:
        """Run a script; when its answer was lost, run it again: that changes nothing and says the same, or that it was done."""
        self.calls[script] = (arguments, kwargs)
        answer = await self.run_script(script, arguments, **kwargs)
        if self.twice:
            before = laws.Dump(self.raw).lasting()
            again = await self.run_script(script, arguments, **kwargs)
            after = laws.Dump(self.raw).lasting()
            assert after == before, f"{script} repeated: {_difference(before, after)}"
            if script in ("lose", "end", "delete", "abandon", "outbox_settle", "adopt"):
                word = again[0] if isinstance(again, list) else again
                assert word in (word_of(answer), b"stale", b"again", b"missing", b"kept"), script
            elif script == "claim":
                assert [again[0], *names_of(again)] == [answer[0], *names_of(answer)]
            elif script == "submit":
                assert (
                    again[:3] == answer[:3]
                )  # whether to settle is said once; the sweeper sees to it otherwise
                assert names_of(again[4:5]) == names_of(answer[4:5])
            elif script not in ("sweep", "settle_dependents", "outbox_take"):
                assert again == answer, script
        return answer

    def saw(self, what: str, word: str) -> None:
        self.coverage[f"{what}: {word}"] += 1

    def agree(self, what: str, word: str, expected: str) -> None:
        assert word == expected, (what, word, expected)
        self.saw(what, word)

    def nonce(self) -> str:
        self.nonces += 1
        return str(self.nonces)

    def call(self, work: Any, words: dict[type[Exception], str]) -> Any:
        """Run a client's call; a refusal is given as its word."""
        try:
            return self.do(work)
        except tuple(words) as refusal:
            return next(word for kind, word in words.items() if isinstance(refusal, kind))

    def attempt(self, pick: int, is_old: bool) -> Claim | None:
        """One of the attempts that schedulers and nodes hold."""
        live = {(task.ask.task_id, task.fence) for task in self.model.where(*m.LIVE)}
        found = sorted(key for key in self.claims if is_old or key in live)
        return self.claims[found[pick % len(found)]] if found else None

    def pick(self, pick: int, *states: str) -> str:
        """The name of one of the tasks in these states; one that may not exist when there is none."""
        found = sorted(task.ask.task_id for task in self.model.where(*states))
        return found[pick % len(found)] if found else NAMES[pick % len(NAMES)]

    def claim(self, scheduler: str, node: str, pick: int, slots: int, most: int) -> None:
        raise NotImplementedError

    def claimed(self, answer: Claimed, scheduler: str, node: str, ask: ClaimAsk, token: str) -> bool:
        raise NotImplementedError

    def read_ring(self, node: str, joining: str = "") -> None:
        raise NotImplementedError

    # Clients

    def begin(self, first: list[str], claims: int) -> None:
        """Let some tasks wait and some run: without contention from the start most runs would see none."""
        for name in SCHEDULERS:
            self.do(self.replicas[name].beat([], 5))
            self.model.beat(name, [])
        for name in first:
            self.submit_ask(m.Ask(name, name[0], PLACES[name], callback=name.endswith("0")))
        for n in range(claims):
            self.claim(SCHEDULERS[n % 2], "media", n, 3, 1)

    def submit(
        self,
        pick: int,
        priority: int,
        after: list[int],
        delay: int,
        deadline: int,
        callback: bool,
        slots: int,
    ) -> None:
        """A task that is not there, mostly, behind some that are; with a claim for `slots` slots, 0: without."""
        free = [name for name in NAMES if name not in self.model.tasks or pick % 4 == 0]
        name = free[pick % len(free)] if free else NAMES[pick % len(NAMES)]
        foreign = pick % 5 == 0
        others = [other for other in self.model.tasks if (other[0] != name[0]) == foreign and other != name]
        depends = tuple(dict.fromkeys(others[n % len(others)] for n in after)) if others else ()
        start_by = self.model.now + deadline if deadline else 0
        slot = ClaimAsk("r1", "r1:1", slots, lane=pick % 2, most=1) if slots else None
        self.submit_ask(
            m.Ask(name, name[0], PLACES[name], priority, depends, delay, start_by, callback), slot
        )

    def submit_the_same_again(self, pick: int) -> None:
        """What ended, mostly."""
        task = self.model.tasks.get(self.pick(pick, *TERMINAL_STATES))
        if task:
            self.submit_ask(task.ask)

    def submit_ask(self, ask: m.Ask, slot: ClaimAsk | None = None) -> None:
        refusals = {TaskConflict: "conflict", InvalidArgument: "no_dependency", TooManyTasks: "full"}
        self.read_ring(ask.node, joining=ask.user)
        answer = self.call(self.clients.submit(_admitted(ask), ask=slot), refusals)  # type: ignore[arg-type]
        nonce = self.nonce()
        expected = self.model.submit(ask, nonce)
        self.calls["submit"] += (ask, nonce, slot)
        self.agree("submit", answer if isinstance(answer, str) else answer.outcome, _short(expected))
        if slot is not None and expected in ("created", "again"):
            self.claimed(answer.claimed, "s1", ask.node, slot, nonce)
            self.saw("submit", f"with a claim: {answer.claimed.outcome}")
        if expected in ("created", "again") and any(self.ended_badly(name) for name in ask.depends_on):
            for name in ask.depends_on:
                self.model.settle(name)

    def ended_badly(self, name: str) -> bool:
        return self.model.tasks[name].state in ("failed", "cancelled")

    def cancel(self, pick: int) -> None:
        name = self.pick(pick, *(m.WAITING if pick % 3 else m.LIVE))
        refusals = {TaskNotFound: "missing", WrongState: "wrong"}
        answer = self.call(self.clients.cancel(name, "", None), refusals)  # type: ignore[arg-type]
        word = answer if isinstance(answer, str) else "cancelled" if answer.ended else "cancelling"
        nonce = self.nonce()
        self.agree("cancel", word, self.model.cancel(name, nonce))
        self.calls["cancel"] += (name, nonce)
        if word == "cancelled":
            self.settle_both(name, told=True)

    def delete_one_that_ended(self, pick: int) -> None:
        self.delete(self.pick(pick, *TERMINAL_STATES))

    def delete(self, name: str) -> None:
        word = self.do(self.clients.delete(name))
        self.agree("delete", word, self.model.delete(name))
        if word == "deleted":
            self.settle_both(name, told=True)

    def replay(self, pick: int) -> None:
        dead = sorted(name for name, task in self.model.tasks.items() if task.dead)
        name = dead[pick % len(dead)] if dead else "a0"
        answer = self.call(self.clients.replay(name), {TaskNotFound: "missing"})
        nonce = self.nonce()
        self.agree("replay", answer or "pending", self.model.replay(name, nonce))
        self.calls["replay"] += (name, nonce)

    def settle_both(self, name: str, *, told: bool) -> None:
        """Settle in the model what the store settled, or both; not told: the scheduler died before."""
        if name in self.model.unsettled:
            if not told:
                self.do(self.clients.settle(name))
            self.model.settle(name)
            self.saw("settle", "after its end")


def _admitted(ask: m.Ask) -> AdmittedTask:
    callback = "http://example.com/" if ask.callback else ""
    spec = task_pb2.TaskSpec(
        task_id=ask.task_id,
        task_name=f"{ask.node}.do",
        user=ask.user,
        priority=ask.priority,
        depends_on=ask.depends_on,
    )
    fields: dict[str, str | bytes] = {
        "user": ask.user, "node": ask.node, "name": spec.task_name, "workflow": ask.task_id, "timeout": "60",
        "callback": callback, "labels": b"",
    }  # fmt: skip
    not_before = f"+{ask.delay}" if ask.delay else "0"
    return AdmittedTask(spec, ask.node, repr(ask), not_before, ask.start_deadline, 60, fields)


def word_of(answer: Any) -> bytes:
    word: bytes = answer[0] if isinstance(answer, list) else answer
    return word


def _short(word: str) -> str:
    return "full" if word in ("user_full", "all_full") else word


def names_of(answer: Any) -> list[bytes]:
    """The tasks in claim's answer, or in submit's part of it."""
    claimed = answer[0] if answer and isinstance(answer[0], list) else answer
    return [one[0] for one in claimed[2:]] if claimed and claimed[0] == b"claimed" else []


def _difference(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    keys = [key for key in before.keys() | after.keys() if before.get(key) != after.get(key)]
    return {key: (before.get(key), after.get(key)) for key in keys}
