"""What schedulers and nodes do to a queue: claims, the words of attempts, leases, the sweeper."""

from __future__ import annotations

from scheduler.queue.attempt_store import Beat, Ending
from scheduler.queue.claim import Claim, ClaimAsk, Claimed
from scheduler.queue.node_event import NodeEvent
from scheduler.queue.task_store import cancelled_event, failed_event
from tests.scheduler.queue import laws
from tests.scheduler.queue import model as m
from tests.scheduler.queue.steps import SCHEDULERS, QueueSteps
from yivideo.task.v1 import task_pb2

REPLICAS = {"media": ("r1", "r2"), "voice": ("r3",)}
ERROR = task_pb2.TaskError(code="MODEL_FAILED", message="no")
NOTE = task_pb2.TaskEvent(log=task_pb2.TaskLog(message="x")).SerializeToString()
RETRYING = task_pb2.TaskEvent(retrying=task_pb2.TaskRetrying(error=ERROR))


class AttemptSteps(QueueSteps):
    """Steps of schedulers and of the attempts that they hold, superseded ones too."""

    def claim(self, scheduler: str, node: str, pick: int, slots: int, most: int) -> None:
        replica = REPLICAS[node][pick % len(REPLICAS[node])]
        ask = ClaimAsk(replica, f"{replica}:1", slots, lane=pick % 2, most=most)
        self.read_ring(node)
        answer = self.do(self.replicas[scheduler].claim(node, ask))
        token = self.nonce()
        if self.claimed(answer, scheduler, node, ask, token):
            self.claim_calls.append((*self.calls["claim"], scheduler, node, ask, token))

    def claimed(self, answer: Claimed, scheduler: str, node: str, ask: ClaimAsk, token: str) -> bool:
        """Check what a claim took, and why it took no more; True when it took something."""
        for claim in answer.claims:
            self._took(claim, scheduler, node, ask)
        if answer.claims:
            fences = [claim.record.fence for claim in answer.claims]
            self.model.note_claim(scheduler, (ask.replica, ask.lane), token, fences)
        full = self._running(ask.replica) >= ask.slots
        limit = self.model.running() >= m.MAX_RUNNING
        if not answer.claims:
            self.agree("claim", answer.outcome, "full" if full else "limit" if limit else "empty")
        elif len(answer.claims) > 1:
            self.saw("claim", "several at once")
        if len(answer.claims) < ask.most and not full and not limit:
            assert not self.model.claimable(node), "a free slot was left empty"
        if answer.claims:
            assert answer.ready == bool(self.turns(node))
        self.forget_the_late(node)
        return bool(answer.claims)

    def _running(self, replica: str) -> int:
        return sum(task.replica == replica for task in self.model.where(*m.LIVE))

    def _took(self, claim: Claim, scheduler: str, node: str, ask: ClaimAsk) -> None:
        record, takeable = claim.record, self.model.claimable(node)
        assert self._running(ask.replica) < ask.slots and self.model.running() < m.MAX_RUNNING
        assert record.fence > self.highest_fence, "fences grow over all tasks, whatever was lost"
        self.highest_fence = record.fence
        assert takeable.get(record.user) is self.model.tasks.get(record.task_id), (
            "the user's first was not taken"
        )
        self.count_turns(node, record.user, set(takeable))
        if self.ring:  # of those whose turn it is, who has the first task
            turn = min(self.ring[user] for user in takeable)
            assert (
                record.user
                == min((takeable[user].order, user) for user in takeable if self.ring[user] == turn)[1]
            )
            self.turn_of[record.fence] = self.ring[record.user]
            self.turns_served += 1
            self.ring[record.user] = self.turns_served
        fence = self.model.claim(self.model.tasks[record.task_id], scheduler, ask.replica)
        assert (record.fence, record.owner) == (fence, scheduler)
        self.claims[record.task_id, fence] = claim
        self.saw("claim", "claimed")

    def read_ring(self, node: str, joining: str = "") -> None:
        """Note whose turn it is at a node; `joining`: with a user whose task becomes ready in the same script."""
        dump = laws.Dump(self.raw)
        self.turns_served = int(dump.values.get(f"q:{node}:turn", 0))
        self.ring = self.turns(node)
        if joining and joining not in self.ring and node not in dump.members(f"u:{joining}:held"):
            self.ring[joining] = self.turns_served - 0.5

    def turns(self, node: str) -> dict[str, float]:
        """The ring of a node as it stands."""
        found: dict[str, float] = laws.Dump(self.raw).values.get(f"q:{node}:users", {})
        return found

    def forget_the_late(self, node: str) -> None:
        """A claim drops those that are too late to start from the ready ones when it comes upon them."""
        ready = laws.Dump(self.raw).members(f"q:{node}:ready")
        for task in self.model.where("pending"):
            if task.place == "ready" and task.ask.node == node and task.ask.task_id not in ready:
                assert not task.begun and 0 < task.start_deadline <= self.model.now
                task.place = ""
                self.saw("claim", "too late to start")

    def count_turns(self, node: str, served: str, could: set[str]) -> None:
        """Of equal users nobody is served twice while another, who could be served, waits."""
        for waiting in could - {served}:
            self.overtaken[node, waiting, served] += 1
            assert self.overtaken[node, waiting, served] <= 1, (node, waiting, served)
        for key in [key for key in self.overtaken if key[:2] == (node, served)]:
            del self.overtaken[key]

    def end(self, pick: int, is_old: bool, told: bool, word: str) -> None:
        claim = self.attempt(pick, is_old)
        if claim is None:
            return
        state = "completed" if word == "unusable" else word
        ended = self.do(self.replicas["s1"].end(claim, _ending(state, word != "unusable"), []))
        answer, must_settle = ended.outcome, ended.must_settle
        name, fence = claim.record.task_id, claim.record.fence
        self.agree("end", answer, self.model.end(name, fence, state, reusable=word != "unusable"))
        if answer == "ended":
            assert must_settle == (name in self.model.unsettled)
            if told:
                self.settle_both(name, told=False)

    def append(self, pick: int, is_old: bool, kinds: list[str], first: int) -> None:
        claim = self.attempt(pick, is_old)
        if claim is None:
            return
        events = [NodeEvent(kind, first + n, NOTE) for n, kind in enumerate(kinds)]
        word = self.do(self.replicas["s1"].append(claim, events))
        plain = [(event.kind, event.node_sequence) for event in events]
        self.agree("append", word, self.model.append(claim.record.task_id, claim.record.fence, plain))

    def keep_input(self, pick: int, is_old: bool) -> None:
        claim = self.attempt(pick, is_old)
        if claim is None:
            return
        word = self.do(self.replicas["s1"].keep_input(claim, task_pb2.TaskSpec()))
        self.agree("keep_input", word, self.model.keep_input(claim.record.task_id, claim.record.fence))

    def retry(self, pick: int, is_old: bool, delay: int) -> None:
        claim = self.attempt(pick, is_old)
        if claim is None:
            return
        word = self.do(self.replicas["s1"].retry_later(claim, delay / 1000, ERROR, RETRYING, []))
        self.agree(
            "retry_later", word, self.model.retry_later(claim.record.task_id, claim.record.fence, delay)
        )

    def hand_back(self, pick: int, is_old: bool, begun: bool) -> None:
        claim = self.attempt(pick, is_old)
        if claim is None:
            return
        name, fence = claim.record.task_id, claim.record.fence
        was_live = self.model.owns(name, fence) is not None
        word = self.do(self.replicas["s1"].hand_back(claim, event=RETRYING if begun else None))
        self.agree("hand_back", word, self.model.hand_back(name, fence, begun=begun))
        if was_live and word == "pending":  # the turn is given back too
            for key in [key for key in self.overtaken if key[2] == claim.record.user]:
                self.overtaken[key] -= key[0] == claim.record.node
            now_at = self.turns(claim.record.node)[claim.record.user]
            assert now_at <= self.turn_of.get(fence, now_at), (
                "the user's place in the ring was not given back"
            )

    def lose(self, pick: int, is_old: bool, by_owner: bool) -> None:
        claim = self.attempt(pick, is_old)
        if claim is None:
            return
        scheduler = SCHEDULERS[(claim.record.task_id in self.owned_by("s2")) == by_owner]
        bodies = {
            "retrying": RETRYING.SerializeToString(),
            "failed": failed_event(ERROR),
            "cancelled": cancelled_event(""),
        }
        word, must_settle = self.do(self.replicas[scheduler].lose(claim, ERROR, 1.0, **bodies))
        name = claim.record.task_id
        self.agree("lose", word, self.model.lose(name, claim.record.fence, scheduler))
        if must_settle:
            self.settle_both(name, told=False)

    def owned_by(self, scheduler: str) -> set[str]:
        return {task.ask.task_id for task in self.model.where(*m.LIVE) if task.owner == scheduler}

    def beat(self, scheduler: str, age: int, stale: bool) -> None:
        live = {(task.ask.task_id, task.fence) for task in self.model.where(*m.LIVE)}
        beats = [(*key, age) for key in sorted(self.claims) if stale or key in live]
        sent = [Beat(name, fence, age / 1000) for name, fence, _ in beats]
        answers = self.do(self.replicas[scheduler].beat(sent, 5))
        for answer, expected in zip(answers, self.model.beat(scheduler, beats), strict=True):
            self.agree("beat", answer[0], expected)

    def adopt(self, pick: int, scheduler: str) -> None:
        self.adopt_one(self.pick(pick, *m.LIVE), scheduler)

    def adopt_one(self, name: str, scheduler: str) -> None:
        claim = self.do(self.replicas[scheduler].adopt(name))
        silent_ms = self.model.adopt(name, scheduler)
        self.agree("adopt", str(claim is not None), str(silent_ms is not None))
        if claim is not None:
            assert round(claim.silent_seconds * 1000) == silent_ms
            assert (claim.record.owner, claim.record.fence) == (scheduler, self.model.tasks[name].fence)
            self.claims[name, claim.record.fence] = claim

    def sweep(self, scheduler: str) -> None:
        """One turn of a sweeper."""
        found = self.do(self.replicas[scheduler].sweep(50))
        expected = self.model.sweep()
        seen = {
            "adopt": {name for name, _ in found.adopt}, "late": set(found.late), "erased": found.erased,
            "settle": set(found.settle), "ready_nodes": set(found.ready_nodes),
        }  # fmt: skip
        assert seen == expected
        for name in seen["adopt"]:
            self.adopt_one(name, scheduler)
        for name in found.late:
            self.abandon(name)
        for name in found.settle:
            self.do(self.clients.settle(name))
            self.model.settle(name)
            self.saw("settle", "by the sweeper")
        if found.erased:
            self.saw("sweep", "erased")

    def abandon_late(self, pick: int) -> None:
        """By a sweeper that found the task late some time ago."""
        deadline = sorted(name for name, task in self.model.tasks.items() if task.start_deadline)
        self.abandon(deadline[pick % len(deadline)] if deadline else "a0")

    def abandon(self, name: str) -> None:
        self.do(self.clients.abandon(name))
        self.saw("abandon", self.model.abandon(name))
        if name in self.model.unsettled and self.model.tasks[name].state == "failed":
            self.settle_both(name, told=True)


def _ending(state: str, reusable: bool) -> Ending:
    match state:
        case "completed":
            done = task_pb2.TaskCompleted(duration_seconds=1)
            return Ending(state, task_pb2.TaskEvent(completed=done), 1.0, result=done, reusable=reusable)
        case "failed":
            return Ending(state, task_pb2.TaskEvent.FromString(failed_event(ERROR)), 1.0, error=ERROR)
    return Ending(state, task_pb2.TaskEvent.FromString(cancelled_event("")), 1.0)
