"""Events of an attempt as a node reports them, on their way into the store."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.errors import Unimplemented
from runtime.logs import get_logger
from scheduler.queue.node_limits import cut
from yivideo.task.v1 import task_pb2

log = get_logger(__name__)

NOT_STORED = frozenset({"heartbeat", "accepted", "retrying", "cancelling", "gap"})
"""What a node tells its own watchers and the scheduler says itself, or what is a sign of life alone."""


@dataclass(frozen=True)
class NodeEvent:
    """One event of an attempt on its way into the store."""

    kind: str
    """`event`, `progress`, `log`, `checkpoint` or `waiting:<reason>`."""
    node_sequence: int
    body: bytes


def to_node_event(event: task_pb2.TaskEvent) -> NodeEvent | None:
    """Return a node's event as it is stored; None for those that are not.

    Raises Unimplemented for one that this scheduler does not know: it must not get lost in silence; NodeMessageInvalid for one
    that cannot be kept. The end of an attempt is no matter of this function (`conclusion`).
    """
    kind = event.WhichOneof("event")
    match kind:
        case "checkpoint":
            cut(event)
            return NodeEvent("checkpoint", event.sequence, event.checkpoint.data.SerializeToString())
        case "started" | "progress" | "log" | "waiting_for_gpu":
            pass
        case _ if kind in NOT_STORED:
            return None
        case _:
            raise Unimplemented(
                f"the node sent an event ({kind or 'of an unknown kind'}) that this scheduler cannot store; is the node newer?"
            )
    bare = task_pb2.TaskEvent()
    bare.CopyFrom(event)
    for field in ("task_id", "attempt", "sequence", "time"):
        bare.ClearField(field)
    if fields := cut(bare):
        log.warning("what a node said is cut to its limits", fields=fields)
    body = bare.SerializeToString()
    if kind in ("progress", "log"):
        return NodeEvent(kind, event.sequence, body)
    if kind == "waiting_for_gpu":
        position = bare.waiting_for_gpu.position
        where = f", position {position}" if position else ""
        return NodeEvent(f"waiting:waiting for GPU{where}", event.sequence, body)
    return NodeEvent("event", event.sequence, body)
