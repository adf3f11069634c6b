"""A task's record as Redis holds it, read into one typed object. Knows the hash's fields; knows no gRPC."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

TERMINAL_STATES = frozenset({"completed", "failed", "cancelled", "skipped"})
LIVE_STATES = frozenset({"running", "cancelling"})
WAITING_STATES = frozenset({"pending", "blocked"})


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """What is known of one task besides its payload and result. Times are Unix milliseconds, 0 for none."""

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


def pairs(flat: Iterable[bytes]) -> dict[str, bytes]:
    """Return the fields of a hash that a script answered as a flat list."""
    items = iter(flat)
    return {key.decode(): value for key, value in zip(items, items, strict=True)}


def to_record(task_id: str, fields: Mapping[str, bytes]) -> TaskRecord:
    """Return the record. `fields` must be a whole hash."""

    def text(name: str) -> str:
        return fields.get(name, b"").decode()

    def whole(name: str) -> int:
        return int(fields.get(name) or 0)

    return TaskRecord(
        task_id=task_id,
        state=text("state"),
        name=text("name"),
        node=text("node"),
        user=text("user"),
        workflow_id=text("workflow"),
        labels=fields.get("labels", b""),
        callback_url=text("callback"),
        created_us=whole("created"),
        updated_ms=whole("updated"),
        not_before_ms=whole("not_before"),
        ready_ms=whole("ready_at"),
        run_ms=whole("run"),
        end_ms=whole("end"),
        expire_ms=whole("expire"),
        attempt=whole("attempt"),
        tries=whole("tries"),
        lost=whole("lost") - whole("unbegun"),
        fence=whole("fence"),
        owner=text("owner"),
        replica=text("replica"),
        address=text("address"),
        node_sequence=whole("nseq"),
        last_sequence=whole("seq"),
        first_sequence=whole("first_seq"),
        duration_seconds=float(fields.get("duration") or 0),
        waiting_reason=text("waiting"),
        progress=fields.get("progress", b""),
        error=fields.get("error", b""),
        cancel_reason=text("cancel_reason"),
        callback_state=text("cb_state"),
        callback_round=whole("cb_round"),
        callback_next_ms=whole("cb_next"),
    )
