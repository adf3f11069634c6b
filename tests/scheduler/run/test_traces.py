"""A task in its client's trace, as the scheduler tells it: one tree, whatever becomes of the task and of the replicas."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from runtime import context as ids
from runtime import spans
from runtime.channel import open_channel
from tests.runtime.test_spans import CALLER, TRACE, Kept
from tests.scheduler.api.flows import Flows
from tests.scheduler.callbacks.receiver import receiving, section
from tests.scheduler.conftest import RUNTIME, Harness, running_client, until
from yivideo.task.v1 import task_pb2, workflow_pb2_grpc


@pytest.fixture
def kept() -> Iterator[Kept]:
    """What scheduler and nodes of this process record."""
    recorder = Kept()
    with spans.recording(recorder):
        yield recorder


def named(kept: Kept, name: str) -> list[spans.Span]:
    """The trace's spans of a name, in the order of their starts."""
    found = [one for one in kept.spans if one.name == name and one.trace_id == TRACE]
    return sorted(found, key=lambda one: (one.start_ns, one.end_ns))


async def test_a_task_is_one_tree(harness: Harness, kept: Kept) -> None:
    """Caller, submit, task; below it the wait, the attempt and the delivery; the node is given the attempt's place."""
    async with receiving() as receiver:
        node = await harness.node()
        client = await harness.scheduler(callbacks=section())
        with ids.bound(trace=CALLER, state="v=1"):
            await client.submit("t1", callback_url=receiver.url)
        here = await node.arrival("t1")
        await here.complete()
        await client.ended("t1")
        headers, _ = await receiver.wait(1)
        await until(lambda: named(kept, "callback"))
    (submit,) = named(kept, "yivideo.task.v1.TaskService/SubmitTask")
    (task,) = named(kept, "task media.extract")
    (queue,) = named(kept, "queue")
    (attempt,) = named(kept, "attempt")
    (callback,) = named(kept, "callback")
    assert submit.parent_id == CALLER.split("-")[2]
    assert task.parent_id == submit.span_id
    assert {queue.parent_id, attempt.parent_id, callback.parent_id} == {task.span_id}
    assert here.request.spec.traceparent == attempt.traceparent
    assert here.request.spec.tracestate == "v=1"
    assert headers["traceparent"] == callback.traceparent
    assert headers["tracestate"] == "v=1"
    assert callback.attributes["http.response.status_code"] == 200
    assert not any(one.error for one in (submit, task, queue, attempt, callback))
    assert {one.tracestate for one in (submit, task, queue, attempt, callback)} == {"v=1"}
    assert task.start_ns <= queue.end_ns <= attempt.start_ns <= attempt.end_ns <= task.end_ns


async def test_a_retry_links_to_the_attempt_before(harness: Harness, kept: Kept) -> None:
    """Each attempt has its wait; the second and the third follow the one before, whose failure is told by its code."""
    node = await harness.node()
    client = await harness.scheduler()
    policy = task_pb2.RetryPolicy(max_attempts=3, initial_delay_seconds=0.01)
    with ids.bound(trace=CALLER):
        await client.submit("t1", retry_policy=policy)
    for number in (1, 2, 3):
        here = await node.arrival("t1", number)
        await here.fail(retryable=True)
    task = await client.ended("t1")
    assert task.state == task_pb2.TASK_STATE_FAILED
    first, second, third = named(kept, "attempt")
    assert [one.attributes["yivideo.attempt"] for one in (first, second, third)] == [1, 2, 3]
    assert (first.links, second.links, third.links) == ((), (first.span_id,), (second.span_id,))
    assert {first.error, second.error, third.error} == {"BROKEN"}
    assert len(named(kept, "queue")) == 3
    (whole,) = named(kept, "task media.extract")
    assert (whole.error, whole.attributes["yivideo.state"]) == ("BROKEN", "failed")
    assert {one.parent_id for one in (first, second, third)} == {whole.span_id}


async def test_a_cancelled_task_shows_it(harness: Harness, kept: Kept) -> None:
    """Cancelled while it runs: the attempt says so. Cancelled while it waits: its wait does, and there is no attempt."""
    node = await harness.node()
    client = await harness.scheduler()
    with ids.bound(trace=CALLER):
        await client.submit("runs")
        here = await node.arrival("runs")
        await client.submit("waits")
        await client.cancel("waits")
        await client.cancel("runs")
    await here.wait_cancel()
    await here.say(cancelled=task_pb2.TaskCancelled())
    await client.ended("runs")
    (attempt,) = named(kept, "attempt")
    assert (attempt.attributes["yivideo.task_id"], attempt.attributes["yivideo.outcome"]) == (
        "runs",
        "cancelled",
    )
    waits = [one for one in named(kept, "queue") if one.attributes["yivideo.task_id"] == "waits"]
    assert [one.attributes["yivideo.outcome"] for one in waits] == ["cancelled"]
    states = {
        one.attributes["yivideo.task_id"]: one.attributes["yivideo.state"]
        for one in named(kept, "task media.extract")
    }
    assert states == {"runs": "cancelled", "waits": "cancelled"}


async def test_a_workflow_is_one_trace(harness: Harness, kept: Kept) -> None:
    """Its tasks lie side by side beneath the one submit, each with the workflow's id, and so does its callback."""
    async with receiving() as receiver:
        await harness.node(auto=True)
        client = await harness.scheduler(callbacks=section())
        async with open_channel(client.address, RUNTIME) as channel:
            flows = Flows(workflow_pb2_grpc.WorkflowServiceStub(channel), client)
            with ids.bound(trace=CALLER):
                await flows.submit(callback_url=receiver.url)
            headers, _ = await receiver.wait(1)
        await until(lambda: named(kept, "callback"))
    (submit,) = named(kept, "yivideo.task.v1.WorkflowService/SubmitWorkflow")
    tasks = named(kept, "task media.extract")
    assert len(tasks) == 4
    assert {task.parent_id for task in tasks} == {submit.span_id}
    assert {task.attributes["yivideo.workflow_id"] for task in tasks} == {"w"}
    (callback,) = named(kept, "callback")
    assert callback.parent_id == submit.span_id
    assert headers["traceparent"] == callback.traceparent


async def test_a_task_that_falls_with_another_shows_it(harness: Harness, kept: Kept) -> None:
    """It never ran: its wait and itself are told, with the reason's code."""
    node = await harness.node()
    client = await harness.scheduler()
    with ids.bound(trace=CALLER):
        await client.submit("first")
        await client.submit("second", depends_on=["first"])
    await (await node.arrival("first")).fail()
    await client.ended("second")
    await until(lambda: len(named(kept, "task media.extract")) == 2)
    codes = {one.attributes["yivideo.task_id"]: one.error for one in named(kept, "task media.extract")}
    assert codes == {"first": "BROKEN", "second": "DEPENDENCY_FAILED"}
    assert len(named(kept, "attempt")) == 1


async def test_another_scheduler_goes_on_in_the_same_tree(harness: Harness, kept: Kept) -> None:
    """The attempt is adopted: whoever ends it gives it the id that the node has called its parent; once."""
    node = await harness.node()
    async with running_client(harness.settings()) as first:
        await first.sees(1)
        with ids.bound(trace=CALLER):
            await first.submit("t1")
        here = await node.arrival("t1")
        parent = here.request.spec.traceparent
    client = await harness.scheduler()
    await until(lambda: here.attached > 1 or here.watchers)
    await here.complete()
    await client.ended("t1")
    (attempt,) = named(kept, "attempt")
    assert attempt.traceparent == parent
    assert len(named(kept, "task media.extract")) == 1


async def test_what_runs_again_lies_in_the_trace_of_what_began_it(harness: Harness, kept: Kept) -> None:
    """A task that is submitted again after its failure is another span, in that submit's trace, and follows nothing there."""
    node = await harness.node()
    client = await harness.scheduler()
    other = f"00-{'12' * 16}-{'34' * 8}-01"
    for number, trace in enumerate((CALLER, other), 1):
        with ids.bound(trace=trace):
            await client.submit("t1")
        await (await node.arrival("t1", number)).fail(f"BROKEN_{number}")
        await client.ended("t1")
    tasks = {span.trace_id: span for span in kept.spans if span.name == "task media.extract"}
    assert {trace: span.error for trace, span in tasks.items()} == {TRACE: "BROKEN_1", "12" * 16: "BROKEN_2"}
    attempts = [span for span in kept.spans if span.name == "attempt"]
    assert [(span.trace_id, span.parent_id, span.links) for span in attempts] == [
        (span.trace_id, span.span_id, ()) for span in tasks.values()
    ]


@pytest.mark.parametrize("given", ["", "no trace", CALLER[:-1] + "0"])
async def test_a_task_outside_recorded_traces_has_no_spans(harness: Harness, kept: Kept, given: str) -> None:
    """What a client's spec says of a trace is checked; a trace that is not recorded stays so to the node."""
    node = await harness.node(auto=True)
    client = await harness.scheduler()
    with ids.bound(trace=CALLER[:-1] + "0"):
        await client.submit("t1", traceparent=given)
    here = await node.arrival("t1")
    await client.ended("t1")
    assert ids.offered_traceparent(here.request.spec.traceparent)
    assert here.request.spec.traceparent.split("-")[1] == TRACE
    assert not named(kept, "attempt")
    assert not named(kept, "task media.extract")


async def test_a_spec_may_name_another_trace_than_its_call(harness: Harness, kept: Kept) -> None:
    """The task belongs to the trace that its client names for it."""
    node = await harness.node(auto=True)
    client = await harness.scheduler()
    other = f"00-{'12' * 16}-{'34' * 8}-01"
    with ids.bound(trace=CALLER):
        await client.submit("t1", traceparent=other)
    await node.arrival("t1")
    await client.ended("t1")
    (task,) = [one for one in kept.spans if one.name == "task media.extract"]
    assert (task.trace_id, task.parent_id) == ("12" * 16, "34" * 8)
