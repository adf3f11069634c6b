"""What goes wrong around a queue: lost answers, clocks that step, an older copy that takes over; and its callbacks."""

from __future__ import annotations

import copy
from typing import Any

from results.states import TERMINAL_STATES
from runtime.errors import TaskNotFound, WrongState
from scheduler.queue.attempt_store import AttemptStore
from scheduler.queue.claim import ClaimAsk, Claimed, read_claimed
from scheduler.queue.redis_link import RedisLink
from tests.scheduler.queue import model as m
from tests.scheduler.queue.attempts import AttemptSteps
from tests.scheduler.queue.steps import word_of
from yivideo.task.v1 import task_pb2


class TroubledSteps(AttemptSteps):
    """All steps."""

    # Callbacks

    def take_callbacks(self, hold: int) -> None:
        token = self.nonce()
        twice, self.twice = (
            self.twice,
            False,
        )  # a repetition finds what it holds already held, and the hold passes
        taken, _ = self.do(self.outbox.take(50, hold / 1000))
        self.twice = twice
        assert {due.task_id for due in taken} == self.model.take_callbacks(token, hold)
        for due in taken:
            self.held_callbacks[token + due.task_id] = due
            self.saw("outbox_take", "taken")

    def settle_callback(self, pick: int, state: str, delay: int) -> None:
        if not self.held_callbacks:
            return
        key = sorted(self.held_callbacks)[pick % len(self.held_callbacks)]
        due = self.held_callbacks[key]
        token = key.removesuffix(due.task_id)
        self.do(self.outbox.settle(due, state, task_pb2.Delivery(http_status=500), delay / 1000))
        self.saw("outbox_settle", self.model.settle_callback(due.task_id, token, state, delay))

    def redeliver(self, pick: int) -> None:
        name = self.pick(pick, *TERMINAL_STATES)
        self.call(self.outbox.redeliver(name), {TaskNotFound: "missing", WrongState: "wrong"})
        self.saw("redeliver", self.model.redeliver(name))

    # What goes wrong

    def answers_are_lost(self, on: bool) -> None:
        """From now on every script is run a second time with the same arguments."""
        self.twice = on

    def a_claim_is_repeated_late(self, pick: int) -> None:
        """Its answer was lost, and much happened before the scheduler asked again: it gets what it took, or another."""
        if not self.claim_calls:
            return
        arguments, kwargs, scheduler, node, ask, token = self.claim_calls[-1 - pick % len(self.claim_calls)]
        store = self.replicas[scheduler]
        answer = self.do(_repeat_claim(store, self.link, arguments, kwargs, node, ask))
        self.claimed_again(answer, scheduler, node, ask, token)

    def claimed_again(self, answer: Claimed, scheduler: str, node: str, ask: ClaimAsk, token: str) -> None:
        last = self.model.last_claim.get(scheduler, {}).get((ask.replica, ask.lane), ("", []))
        mine = [
            fence for fence in last[1]
            if last[0] == token and any(t.fence == fence and t.owner == scheduler for t in self.model.where(*m.LIVE))
        ]  # fmt: skip
        if mine:
            assert [claim.record.fence for claim in answer.claims] == mine
            self.saw("claim", "found again")
        else:
            self.ring = {}
            self.claimed(answer, scheduler, node, ask, token)

    def a_client_call_is_repeated_late(self, script: str) -> None:
        """The laws hold, though what was undone meanwhile is done again."""
        if len(self.calls.get(script, ())) < 4:
            return
        arguments, kwargs, what, nonce, *rest = self.calls[script]
        answer = self.do(self.link.run(script, arguments, **kwargs))
        word = word_of(answer)
        self.calls[script] = (arguments, kwargs, what, nonce, *rest)
        if script == "submit":
            expected = self.model.submit(what, nonce)
            if rest[0] is not None and expected in ("created", "again"):
                self.claimed_again(read_claimed(answer[4]), "s1", what.node, rest[0], nonce)
        else:
            expected = (
                self.model.cancel(what, nonce) if script == "cancel" else self.model.replay(what, nonce)
            )
        self.agree(f"{script}, late", word.decode(), expected)

    def time_passes(self, ms: int) -> None:
        self.model.now_us += ms * 1000 + 1
        self.set_clock()

    def the_clock_is_set_back(self, ms: int) -> None:
        if self.model.fence < self.highest_fence:
            return  # writes were lost and nothing was claimed since
        self.model.now_us -= ms * 1000
        self.set_clock()

    def the_disk_is_written(self) -> None:
        dumps: dict[bytes, Any] = {key: self.raw.dump(key) for key in self.raw.scan_iter()}
        self.saved = copy.deepcopy(self.model), dumps

    def an_older_copy_takes_over(self) -> None:
        if self.saved is None:
            return
        model, data = self.saved
        with self.raw.pipeline() as pipe:
            pipe.flushdb()
            pipe.script_flush()
            for key, value in data.items():
                pipe.restore(key, 0, value)
            pipe.execute()
        self.model = copy.deepcopy(model)
        self.model.now_us = self.latest_us + 1_000_000
        self.set_clock()
        self.overtaken.clear()
        self.held_callbacks.clear()
        self.calls.clear()
        self.claim_calls.clear()
        self.saved = None
        self.saw("failover", "done")


async def _repeat_claim(
    store: AttemptStore, link: RedisLink, arguments: Any, kwargs: Any, node: str, ask: ClaimAsk
) -> Claimed:
    """Make a store's claim once more, word for word."""
    run = link.run

    async def same(*_: Any, **__: Any) -> Any:
        return await run("claim", arguments, **kwargs)

    link.run = same  # type: ignore[method-assign]
    try:
        return await store.claim(node, ask)
    finally:
        link.run = run  # type: ignore[method-assign]
