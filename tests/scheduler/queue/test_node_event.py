"""What a node says is stored, is left out on purpose, or is refused aloud; nothing gets lost in silence."""

from __future__ import annotations

import pytest

from results.states import TERMINAL_EVENTS
from runtime.errors import Unimplemented
from scheduler.queue.node_event import NOT_STORED, to_node_event
from tests.scheduler.conftest import Harness
from yivideo.task.v1 import task_pb2

STORED = {"started", "progress", "log", "waiting_for_gpu", "checkpoint"}
ENDS = TERMINAL_EVENTS | {"handed_back"}

FROM_THE_FUTURE = task_pb2.TaskEvent.FromString(b"\xf2\x3f\x02hi")
"""Field 1022, which no version of the contract has."""


def test_every_event_of_the_contract_has_its_place() -> None:
    """A kind that is added to TaskEvent must be put into one of the three, or this fails."""
    kinds = {field.name for field in task_pb2.TaskEvent.DESCRIPTOR.oneofs_by_name["event"].fields}
    assert kinds == STORED | NOT_STORED | ENDS


@pytest.mark.parametrize("kind", sorted(STORED | NOT_STORED))
def test_a_known_kind_is_stored_or_left_out(kind: str) -> None:
    """What is stored keeps the node's own sequence."""
    event = task_pb2.TaskEvent(sequence=7)
    getattr(event, kind).SetInParent()
    stored = to_node_event(event)
    assert (stored is None) == (kind in NOT_STORED)
    assert stored is None or stored.node_sequence == 7


@pytest.mark.parametrize("event", [FROM_THE_FUTURE, task_pb2.TaskEvent()], ids=["newer", "empty"])
def test_an_unknown_kind_is_an_error(event: task_pb2.TaskEvent) -> None:
    """A node of a newer version must not have its events dropped."""
    with pytest.raises(Unimplemented):
        to_node_event(event)


async def test_a_task_whose_node_says_what_nobody_knows_fails_and_says_so(harness: Harness) -> None:
    """The node is told to stop the attempt, and the client reads why; no event is missing in silence."""
    node = await harness.node()
    client = await harness.scheduler()
    await client.submit("t1")
    here = await node.arrival("t1")
    await here.append(task_pb2.TaskEvent.FromString(FROM_THE_FUTURE.SerializeToString()))
    assert (await here.wait_cancel()).task_id == "t1"
    task = await client.ended("t1")
    assert (task.state, task.error.code) == (task_pb2.TASK_STATE_FAILED, "UNIMPLEMENTED")
