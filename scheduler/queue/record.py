"""A task's record as Redis holds it, read into one typed object. Knows the hash's fields; knows no gRPC."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from results.states import TERMINAL_STATES

LIVE_STATES = frozenset({"running", "cancelling"})
WAITING_STATES = frozenset({"pending", "blocked"})


@dataclass(
    slots=True
)  # not frozen: with so many fields that doubles the time to make one, and each task makes several
class TaskRecord:
    """What is known of one task besides its payload and result; nobody changes it. Times are Unix milliseconds, 0 for none."""

    task_id: str
    state: str
    name: str
    node: str
    user: str
    workflow_id: str
    labels: bytes
    callback_url: str
    created_us: int
    updated_ms: int
    not_before_ms: int
    ready_ms: int
    run_ms: int
    end_ms: int
    expire_ms: int
    attempt: int
    tries: int
    lost: int
    """Attempts whose node was lost after they had begun."""
    fence: int
    ended_fence: int
    """Fence of the attempt with which the task ended; 0: it has not, or did while it waited; -1: it ended before this was noted."""
    owner: str
    replica: str
    address: str
    node_sequence: int
    last_sequence: int
    first_sequence: int
    """Where the current life of a task that ran again begins in its events."""
    duration_seconds: float
    waiting_reason: str
    progress: bytes
    """Serialised TaskEvent with the last progress of the current attempt."""
    error: bytes
    """Serialised TaskError."""
    bindings: bytes
    """JSON: which values of its input come from which tasks (`scheduler.queue.bindings`); empty: none."""
    depends_on: frozenset[str]
    """Ids of all tasks that it waited for, or waits for still."""
    cancel_reason: str
    callback_state: str
    callback_round: int
    callback_next_ms: int

    @property
    def ended(self) -> bool:
        """Whether the state is terminal."""
        return self.state in TERMINAL_STATES

    def expired(self, now_ms: float) -> bool:
        """Whether its time has come, even if the janitor has not."""
        return self.ended and 0 < self.expire_ms <= now_ms


def pairs(flat: Iterable[bytes]) -> dict[bytes, bytes]:
    """Return the fields of a hash that a script answered as a flat list."""
    items = iter(flat)
    return dict(zip(items, items, strict=True))


def to_record(task_id: str, fields: Mapping[bytes, bytes]) -> TaskRecord:
    """Return the record. `fields` must be a whole hash."""
    get = fields.get
    return TaskRecord(
        task_id=task_id,
        state=get(b"state", b"").decode(),
        name=get(b"name", b"").decode(),
        node=get(b"node", b"").decode(),
        user=get(b"user", b"").decode(),
        workflow_id=get(b"workflow", b"").decode(),
        labels=get(b"labels", b""),
        callback_url=get(b"callback", b"").decode(),
        created_us=int(get(b"created") or 0),
        updated_ms=int(get(b"updated") or 0),
        not_before_ms=int(get(b"not_before") or 0),
        ready_ms=int(get(b"ready_at") or 0),
        run_ms=int(get(b"run") or 0),
        end_ms=int(get(b"end") or 0),
        expire_ms=int(get(b"expire") or 0),
        attempt=int(get(b"attempt") or 0),
        tries=int(get(b"tries") or 0),
        lost=int(get(b"lost") or 0) - int(get(b"unbegun") or 0),
        fence=int(get(b"fence") or 0),
        ended_fence=int(get(b"ended_fence", b"-1") or 0),
        owner=get(b"owner", b"").decode(),
        replica=get(b"replica", b"").decode(),
        address=get(b"address", b"").decode(),
        node_sequence=int(get(b"nseq") or 0),
        last_sequence=int(get(b"seq") or 0),
        first_sequence=int(get(b"first_seq") or 0),
        duration_seconds=float(get(b"duration") or 0),
        waiting_reason=get(b"waiting", b"").decode(),
        progress=get(b"progress", b""),
        error=get(b"error", b""),
        bindings=get(b"refs", b""),
        depends_on=frozenset(get(b"deps", b"").decode().split()),
        cancel_reason=get(b"cancel_reason", b"").decode(),
        callback_state=get(b"cb_state", b"").decode(),
        callback_round=int(get(b"cb_round") or 0),
        callback_next_ms=int(get(b"cb_next") or 0),
    )
