"""What the queue scripts must do, in plain Python: one `QueueModel` is the whole truth about some tasks. Knows no Redis.

Each method is one script; it changes the model and returns the word that the script must answer. `keyspace()` is what Redis must
then hold: every index is a function of the tasks, so a forgotten or a doubled entry anywhere is a difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from results.states import TERMINAL_STATES

LIVE = frozenset({"running", "cancelling"})
WAITING = frozenset({"pending", "blocked"})

LEASE_MS = 15_000
SCHEDULER_TTL_MS = 6_000
RESULT_TTL_MS = 300_000
MAX_LOST = 2
MAX_NEVER_BEGUN = 3
MAX_RUNNING_PER_USER = 2
MAX_RUNNING = 5
MAX_QUEUED_PER_USER = 2
MAX_QUEUED = 5


@dataclass(frozen=True)
class Ask:
    """What a client submits. Times are milliseconds; `start_deadline` on the model's clock, 0 for none."""

    task_id: str
    user: str
    node: str
    priority: int = 0
    depends_on: tuple[str, ...] = ()
    delay: int = 0
    start_deadline: int = 0
    callback: bool = False


@dataclass
class ModelTask:
    """One task. `place` is where it waits: `ready` (since `due`), `delayed` (until `due`), `blocked`, or nowhere."""

    ask: Ask
    nonce: str
    created_us: int
    state: str = "pending"
    place: str = ""
    due: int = 0
    not_before: int = 0
    start_deadline: int = 0
    waits: set[str] = field(default_factory=set)
    attempt: int = 0
    tries: int = 0
    lost: int = 0
    unbegun: int = 0
    """Of the lost, those whose node never said a word."""
    fence: int = 0
    owner: str = ""
    replica: str = ""
    lease: int = 0
    node_sequence: int = 0
    events: int = 0
    first_event: int = 1
    checkpoint: bool = False
    resolved: bool = False
    """Whether an input with resolved references is kept."""
    contact: int | None = None
    """When the last message of the node came, once the attempt was adopted; forgotten at the next one."""
    expire: int = 0
    reusable: bool = True
    dead: bool = False
    cancel_nonce: str = ""
    callback_state: str = ""
    callback_due: int = 0
    hold: str = ""
    again: bool = False
    """Whether somebody asked for the callback by hand while it was held."""
    deliveries: int = 0
    noted: int = 0
    """Attempts that were followed by another."""
    ended_live: bool = False
    """Whether it ended with an attempt, and not while it waited."""

    @property
    def order(self) -> tuple[int, str]:
        """Where it stands among its user's ready tasks."""
        return (100 - self.ask.priority) * 10**13 + self.created_us // 1000, self.ask.task_id

    @property
    def begun(self) -> bool:
        """Whether an attempt of this life counts as started: then no start deadline concerns it any more."""
        return self.tries > 0 or self.lost > 0


class QueueModel:
    """All tasks of one installation, at one moment of one clock."""

    def __init__(self) -> None:
        self.now_us = 1_800_000_000_000_000
        self.fence = 0
        self.tasks: dict[str, ModelTask] = {}
        self.dependents: dict[str, set[str]] = {}
        self.unsettled: set[str] = set()
        self.schedulers: dict[str, int] = {}
        self.last_claim: dict[str, dict[tuple[str, int], tuple[str, list[int]]]] = {}
        """Of each scheduler and node replica: token and fence of the last claim."""

    @property
    def now(self) -> int:
        """The clock in milliseconds."""
        return self.now_us // 1000

    # Who waits and who runs

    def where(self, *states: str) -> list[ModelTask]:
        """The tasks in these states."""
        return [task for task in self.tasks.values() if task.state in states]

    def queued(self, user: str = "") -> int:
        """How many wait."""
        return sum(user in ("", task.ask.user) for task in self.where(*WAITING))

    def running(self, user: str = "") -> int:
        """How many run."""
        return sum(user in ("", task.ask.user) for task in self.where(*LIVE))

    def claimable(self, node: str) -> dict[str, ModelTask]:
        """By user, the task that a claim may take: the head of the queue of each who is below the limit."""
        heads: dict[str, ModelTask] = {}
        for task in sorted(self.where("pending"), key=lambda task: task.order):
            late = not task.begun and 0 < task.start_deadline <= self.now
            if task.place == "ready" and task.ask.node == node and not late:
                heads.setdefault(task.ask.user, task)
        return {user: task for user, task in heads.items() if self.running(user) < MAX_RUNNING_PER_USER}

    def owns(self, task_id: str, fence: int) -> ModelTask | None:
        """The task, when this is its live attempt."""
        task = self.tasks.get(task_id)
        return task if task and task.state in LIVE and task.fence == fence else None

    # The moves that all scripts share

    def _enqueue(self, task: ModelTask, due: int) -> None:
        task.state, task.not_before = "pending", due
        task.place, task.due = ("delayed", due) if due > self.now else ("ready", self.now)

    def _close(self, task: ModelTask, state: str) -> bool:
        task.ended_live = task.state in ("running", "cancelling")
        task.state, task.place, task.owner, task.replica, task.waits = state, "", "", "", set()
        task.expire, task.checkpoint = self.now + RESULT_TTL_MS, False
        task.events += 1
        if task.ask.callback:
            task.callback_state, task.callback_due, task.hold, task.again = "pending", self.now, "", False
        return self._unsettle(task.ask.task_id)

    def _unsettle(self, task_id: str) -> bool:
        if not self.dependents.get(task_id):
            return False
        self.unsettled.add(task_id)
        return True

    def _erase(self, task: ModelTask) -> bool:
        del self.tasks[task.ask.task_id]
        return self._unsettle(task.ask.task_id)

    def _return(self, task: ModelTask) -> None:
        task.state, task.owner, task.replica, task.contact = "pending", "", "", None

    def _run_again(self, task: ModelTask, waits: Sequence[str], due: int) -> None:
        task.expire = task.tries = task.lost = task.unbegun = 0
        task.dead, task.cancel_nonce, task.reusable = False, "", True
        task.callback_state, task.hold, task.again = "", "", False
        task.resolved, task.contact = False, None
        task.noted, task.ended_live = task.noted + task.ended_live, False
        task.events += 1
        task.first_event = task.events
        self._place(task, waits, due)

    def _place(self, task: ModelTask, waits: Sequence[str], due: int) -> None:
        if waits:
            task.state, task.place, task.waits, task.not_before = "blocked", "blocked", set(waits), due
            for name in waits:
                self.dependents.setdefault(name, set()).add(task.ask.task_id)
                if name in self.tasks and self.tasks[name].state in TERMINAL_STATES:
                    self.unsettled.add(name)
        else:
            self._enqueue(task, due)

    # Scripts for clients

    def submit(self, ask: Ask, nonce: str) -> str:
        """Accept a task, or say why not; what must be settled then is in `unsettled`."""
        task = self.tasks.get(ask.task_id)
        if task and task.state in TERMINAL_STATES and task.expire <= self.now:
            self._erase(task)
            task = None
        if task and task.nonce == nonce:
            return "again" if task.first_event > 1 else "created"
        if task and task.ask != ask:
            return "conflict"
        if task and not (
            task.state in ("failed", "cancelled") or (task.state == "completed" and not task.reusable)
        ):
            return "existing"
        if self.queued(ask.user) >= MAX_QUEUED_PER_USER:
            return "user_full"
        if self.queued() >= MAX_QUEUED:
            return "all_full"
        waits = []
        for name in ask.depends_on:
            other = self.tasks.get(name)
            if other is None or other.ask.user != ask.user:
                return "no_dependency"
            if other.state not in ("completed", "skipped"):
                waits.append(name)
        due = self.now + ask.delay if ask.delay else 0
        if task:
            task.nonce, task.start_deadline = nonce, ask.start_deadline
            self._run_again(task, waits, due)
            return "again"
        task = ModelTask(ask, nonce, self.now_us, start_deadline=ask.start_deadline, events=1)
        self.tasks[ask.task_id] = task
        self._place(task, waits, due)
        return "created"

    def cancel(self, task_id: str, nonce: str) -> str:
        """Stop a task that waits, or mark one that runs."""
        task = self.tasks.get(task_id)
        if task is None:
            return "missing"
        if task.cancel_nonce == nonce:
            return "cancelled" if task.state == "cancelled" else "cancelling"
        if task.state in WAITING:
            task.cancel_nonce = nonce
            self._close(task, "cancelled")
            return "cancelled"
        if task.state != "running":
            return "wrong"
        task.state, task.cancel_nonce = "cancelling", nonce
        task.events += 1
        return "cancelling"

    def delete(self, task_id: str) -> str:
        """Remove an ended task."""
        task = self.tasks.get(task_id)
        if task is None:
            return "missing"
        if task.state not in TERMINAL_STATES:
            return "kept"
        self._erase(task)
        return "deleted"

    def replay(self, task_id: str, nonce: str) -> str:
        """Let a dead letter run again, at once and without its old deadline."""
        task = self.tasks.get(task_id)
        if task and task.nonce == nonce:
            return "pending"
        if not task or not task.dead:
            return "missing"
        task.nonce, task.start_deadline = nonce, 0
        self._run_again(task, (), self.now)
        return "pending"

    # Scripts for schedulers

    def claim(self, task: ModelTask, scheduler: str, replica: str) -> int:
        """Start the next attempt of a task that may be claimed; gives its fence."""
        self.fence = max(self.fence + 1, self.now_us)
        task.state, task.place, task.fence = "running", "", self.fence
        task.attempt, task.tries = task.attempt + 1, task.tries + 1
        task.owner, task.replica, task.node_sequence, task.contact = scheduler, replica, 0, None
        task.lease = self.now + LEASE_MS
        return self.fence

    def note_claim(self, scheduler: str, lane: tuple[str, int], token: str, fences: list[int]) -> None:
        """Remember what the last claim of a lane of a replica took."""
        self.last_claim.setdefault(scheduler, {})[lane] = (token, fences)

    def append(self, task_id: str, fence: int, events: Sequence[tuple[str, int]]) -> str:
        """Store events of a live attempt that are newer than the last stored one."""
        task = self.owns(task_id, fence)
        if task is None:
            return "stale"
        for kind, sequence in events:
            if sequence > task.node_sequence:
                task.node_sequence = sequence
                task.checkpoint = task.checkpoint or kind == "checkpoint"
                task.events += kind != "checkpoint"
        return task.state

    def keep_input(self, task_id: str, fence: int) -> str:
        """Keep the input of a live attempt with its references resolved."""
        task = self.owns(task_id, fence)
        if task is None:
            return "stale"
        task.resolved = True
        return "kept"

    def end(self, task_id: str, fence: int, state: str, *, reusable: bool = True) -> str:
        """End a live attempt's task."""
        task = self.tasks.get(task_id)
        if task and task.state in TERMINAL_STATES and task.fence == fence:
            return "again"
        task = self.owns(task_id, fence)
        if task is None:
            return "stale"
        if state == "cancelled" and task.state != "cancelling":
            return "unasked"
        self._close(task, state)
        task.reusable = reusable
        return "ended"

    def retry_later(self, task_id: str, fence: int, delay: int) -> str:
        """Let another attempt follow."""
        task = self.tasks.get(task_id)
        if task and task.state == "pending" and task.fence == fence:
            return "retrying"
        task = self.owns(task_id, fence)
        if task is None or task.state == "cancelling":
            return "cancelling" if task else "stale"
        self._return(task)
        task.noted += 1
        task.events += 1
        self._enqueue(task, self.now + delay)
        return "retrying"

    def hand_back(self, task_id: str, fence: int, *, begun: bool) -> str:
        """Put an uncounted attempt's task back where it was."""
        task = self.tasks.get(task_id)
        if task and task.state == "pending" and task.fence == fence:
            return "pending"
        task = self.owns(task_id, fence)
        if task is None or task.state == "cancelling":
            return "cancelling" if task else "stale"
        self._return(task)
        task.place = "ready"
        task.attempt, task.tries, task.events = task.attempt - 1, task.tries - 1, task.events + begun
        task.noted += begun
        return "pending"

    def lose(self, task_id: str, fence: int, scheduler: str) -> str:
        """Give up an attempt whose node is gone."""
        task = self.owns(task_id, fence)
        if task is None or task.owner != scheduler:
            return "stale"
        task.lost += 1
        task.unbegun += task.node_sequence == 0
        if task.state == "cancelling":
            self._close(task, "cancelled")
            return "cancelled"
        if task.lost - task.unbegun >= MAX_LOST or task.unbegun >= MAX_NEVER_BEGUN:
            self._close(task, "failed")
            task.dead = True
            return "failed"
        self._return(task)
        task.place, task.due = "ready", self.now
        task.tries, task.events = task.tries - 1, task.events + 1
        task.noted += 1
        return "retrying"

    def beat(self, scheduler: str, beats: Sequence[tuple[str, int, int]]) -> list[str]:
        """Renew the leases of (task, fence, age) of a scheduler."""
        self.schedulers[scheduler] = self.now + SCHEDULER_TTL_MS
        words = []
        for task_id, fence, age in beats:
            task = self.owns(task_id, fence)
            if task is None or task.owner != scheduler:
                words.append("lost")
                continue
            task.lease = max(task.lease, self.now + LEASE_MS - age)
            if age < LEASE_MS:
                task.contact = None
            words.append("cancelling" if task.state == "cancelling" else "kept")
        return words

    def adoptable(self, task: ModelTask) -> bool:
        """Whether a live attempt has no living owner."""
        return task.lease <= self.now or self.schedulers.get(task.owner, 0) <= self.now

    def adopt(self, task_id: str, scheduler: str) -> int | None:
        """Become the owner of an attempt that has none; gives for how many ms no message of its node came, None when it has one."""
        task = self.tasks.get(task_id)
        if task is None or task.state not in LIVE or not self.adoptable(task):
            return None
        if task.contact is None:
            task.contact = min(self.now, task.lease - LEASE_MS)
        task.owner, task.lease = scheduler, self.now + LEASE_MS
        return self.now - task.contact

    def sweep(self) -> dict[str, Any]:
        """Do what time brings; gives how many tasks were erased, and what is left for the caller."""
        for task in self.where("pending"):
            if task.place == "delayed" and task.due <= self.now:
                task.place, task.due = "ready", self.now
        dead = {name for name, until in self.schedulers.items() if until <= self.now}
        live = self.where(*LIVE)
        adopt = {t.ask.task_id for t in live if t.lease <= self.now or t.owner in dead}
        for name in dead:
            if not any(task.owner == name for task in live):
                del self.schedulers[name]
                self.last_claim.pop(name, None)
        expired = [
            task for task in self.where(*TERMINAL_STATES)
            if task.expire <= self.now and task.ask.task_id not in self.unsettled
        ]  # fmt: skip
        for task in expired:
            self._erase(task)
        return {
            "adopt": adopt,
            "late": {t.ask.task_id for t in self.where(*WAITING) if self._late(t)},
            "erased": len(expired),
            "settle": set(self.unsettled),
            "ready_nodes": {t.ask.node for t in self.where("pending") if t.place == "ready"},
        }

    def _late(self, task: ModelTask) -> bool:
        return 0 < task.start_deadline <= self.now and not task.begun

    def abandon(self, task_id: str) -> str:
        """Fail a task that did not start in time."""
        task = self.tasks.get(task_id)
        if task is None or task.state not in WAITING or not self._late(task):
            return "kept"
        self._close(task, "failed")
        return "failed"

    def settle(self, task_id: str) -> None:
        """Tell those that wait for an ended or removed task, and those that wait for them."""
        task = self.tasks.get(task_id)
        self.unsettled.discard(task_id)
        if task and task.state not in TERMINAL_STATES:
            return
        good = task is not None and task.state in ("completed", "skipped")
        for name in self.dependents.pop(task_id, set()):
            waiting = self.tasks.get(name)
            if waiting is None or waiting.state != "blocked" or task_id not in waiting.waits:
                continue
            waiting.waits.discard(task_id)
            if not good:
                if self._close(waiting, "failed"):
                    self.settle(name)
            elif not waiting.waits:
                self._enqueue(waiting, waiting.not_before)

    # The outbox

    def take_callbacks(self, token: str, hold: int) -> set[str]:
        """Hold the callbacks that are due."""
        due = [
            t
            for t in self.where(*TERMINAL_STATES)
            if t.callback_state == "pending" and t.callback_due <= self.now
        ]
        for task in due:
            task.callback_due, task.hold, task.again = self.now + hold, token, False
        return {task.ask.task_id for task in due}

    def settle_callback(self, task_id: str, token: str, state: str, delay: int) -> str:
        """Record one delivery by its holder."""
        task = self.tasks.get(task_id)
        if task is None or not task.hold or task.hold != token:
            return "stale"
        if task.again and state != "sent":
            state, delay = "pending", 0
        task.hold, task.again, task.callback_state, task.deliveries = "", False, state, task.deliveries + 1
        task.callback_due = self.now + delay
        return "settled"

    def redeliver(self, task_id: str) -> str:
        """Make an ended task's callback due now."""
        task = self.tasks.get(task_id)
        if task is None:
            return "missing"
        if task.state not in TERMINAL_STATES:
            return "not ended"
        if not task.ask.callback:
            return "no callback"
        if task.hold and task.callback_due > self.now:
            task.again = True  # not beside the delivery that is under way: behind it
            return "due"
        task.callback_state, task.callback_due, task.hold, task.again = "pending", self.now, "", False
        return "due"
