"""Workflows that are submitted as a whole, over real gRPC: stored or refused as one, watched, stopped and run again as one."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import pytest
import redis
from standardwebhooks import Webhook

from runtime.channel import open_channel
from runtime.errors import (
    BadReference,
    InvalidArgument,
    InvalidInput,
    PermissionDenied,
    TaskConflict,
    TooManyTasks,
    WorkflowNotFound,
    WrongState,
)
from runtime.rpc_errors import rpc_errors
from runtime.structs import to_struct
from scheduler.queue.keys import Keys
from scheduler.settings import LimitsSection
from tests.scheduler.conftest import RUNTIME, Client, Harness
from tests.scheduler.fake_node import FakeNode
from tests.scheduler.receiver import SECRETS, receiving, section
from tests.scheduler.short_times import PREFIX
from yivideo.task.v1 import task_pb2, workflow_pb2, workflow_pb2_grpc

pytestmark = pytest.mark.trial("10.9")

State = task_pb2.TaskState


def task(
    key: str, source: str = "", name: str = "media.extract", after: tuple[str, ...] = (), **fields: Any
) -> workflow_pb2.WorkflowTask:
    """A task that takes its film from another, or has its own."""
    video = f"${{{{ {source}.output.audio_path }}}}" if source else "film.mp4"
    spec = task_pb2.TaskSpec(
        task_name=name, input=to_struct({"video_path": video}), depends_on=after, **fields
    )
    return workflow_pb2.WorkflowTask(key=key, spec=spec)


CHAIN = (
    task("audio"),
    task("left", "tasks.audio"),
    task("right", "tasks.audio"),
    task("end", after=("left", "right")),
)


@dataclass
class Flows:
    """A client of WorkflowService."""

    stub: workflow_pb2_grpc.WorkflowServiceAsyncStub
    client: Client

    async def submit(
        self, *tasks: workflow_pb2.WorkflowTask, workflow_id: str = "w", **fields: Any
    ) -> workflow_pb2.Workflow:
        spec = workflow_pb2.WorkflowSpec(workflow_id=workflow_id, tasks=tasks or CHAIN, **fields)
        async with rpc_errors():
            return await self.stub.SubmitWorkflow(workflow_pb2.SubmitWorkflowRequest(spec=spec))

    async def get(self, workflow_id: str = "w", user: str = "") -> workflow_pb2.Workflow:
        async with rpc_errors():
            return await self.stub.GetWorkflow(
                workflow_pb2.GetWorkflowRequest(workflow_id=workflow_id, user=user)
            )

    async def cancel(self, workflow_id: str = "w") -> workflow_pb2.Workflow:
        async with rpc_errors():
            return await self.stub.CancelWorkflow(
                workflow_pb2.CancelWorkflowRequest(workflow_id=workflow_id, reason="enough")
            )

    async def retry(self, *from_keys: str, workflow_id: str = "w") -> workflow_pb2.Workflow:
        async with rpc_errors():
            return await self.stub.RetryWorkflow(
                workflow_pb2.RetryWorkflowRequest(workflow_id=workflow_id, from_keys=from_keys)
            )

    async def watch(
        self, after: int = 0, workflow_id: str = "w"
    ) -> AsyncIterator[workflow_pb2.WorkflowEvent]:
        request = workflow_pb2.WatchWorkflowRequest(workflow_id=workflow_id, after_sequence=after)
        async with rpc_errors():
            call = self.stub.WatchWorkflow(request)
            try:
                async for event in call:
                    if not event.HasField("heartbeat"):
                        yield event
            finally:
                call.cancel()

    async def ended(self, after: int = 0, workflow_id: str = "w") -> list[workflow_pb2.WorkflowEvent]:
        """All events up to the end."""
        async with asyncio.timeout(15), aclosing(self.watch(after, workflow_id)) as events:  # type: ignore[type-var]
            return [event async for event in events]

    def states(self, workflow: workflow_pb2.Workflow) -> dict[str, str]:
        return {
            one.spec.task_id.removeprefix("w-"): State.Name(one.state).removeprefix("TASK_STATE_").lower()
            for one in workflow.tasks
        }


@pytest.fixture
async def flows(harness: Harness) -> tuple[FakeNode, Flows]:
    """A node with many slots, a scheduler, and a client of workflows."""
    node = await harness.node(slots=20)
    return node, await connect(harness)


async def connect(harness: Harness, **settings: Any) -> Flows:
    client = await harness.scheduler(**settings)
    channel = await harness.stack.enter_async_context(open_channel(client.address, RUNTIME))
    return Flows(workflow_pb2_grpc.WorkflowServiceStub(channel), client)


async def finish(node: FakeNode, *keys: str, attempt: int = 1) -> None:
    for key in keys:
        await (await node.arrival(f"w-{key}", attempt)).complete({"audio_path": f"{key}.wav"})


async def test_a_workflow_runs_in_the_order_of_its_references(flows: tuple[FakeNode, Flows]) -> None:
    """Keys name tasks in depends_on and references; what nothing binds runs side by side; the last end is the workflow's."""
    node, client = flows
    workflow = await client.submit()
    assert (
        workflow.state in (State.TASK_STATE_PENDING, State.TASK_STATE_RUNNING) and workflow.last_sequence >= 5
    )
    assert client.states(workflow) | {"audio": ""} == {
        "audio": "", "left": "blocked", "right": "blocked", "end": "blocked",
    }  # fmt: skip
    await finish(node, "audio", "left", "right", "end")
    events = await client.ended()
    assert events[-1].ended.state == State.TASK_STATE_COMPLETED
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert events[0].accepted.task_count == 4
    workflow = await client.get()
    assert workflow.state == State.TASK_STATE_COMPLETED
    assert [one.spec.task_id for one in workflow.tasks] == ["w-audio", "w-left", "w-right", "w-end"]
    assert workflow.tasks[1].resolved_input["video_path"] == "audio.wav"
    assert workflow.tasks[0].expire_time == workflow.expire_time
    waited = {one.spec.task_id: list(one.waits_for) for one in workflow.tasks}
    assert waited == {
        "w-audio": [], "w-left": ["w-audio"], "w-right": ["w-audio"], "w-end": ["w-left", "w-right"],
    }  # fmt: skip


async def test_the_stream_has_every_event_of_every_task_once(flows: tuple[FakeNode, Flows]) -> None:
    """A watcher that comes back behind a sequence gets the rest, with each task's own id and sequence, large results too."""
    node, client = flows
    await client.submit(task("audio"), task("copy", "tasks.audio"))
    here = await node.arrival("w-audio")
    await here.progress(50)
    await here.complete({"audio_path": "a.wav", "text": "x" * 10_000})
    await finish(node, "copy")
    events = await client.ended()
    rest = await client.ended(after=events[3].sequence)
    assert rest == events[4:]
    for key in ("w-audio", "w-copy"):
        told = [event.task_event for event in events if event.task_event.task_id == key]
        assert told == await client.client.events(key)
    (large,) = (
        event.task_event.completed.output
        for event in events
        if event.task_event.task_id == "w-audio" and event.task_event.HasField("completed")
    )
    assert len(str(large["text"])) == 10_000
    assert await client.ended(after=events[-1].sequence) == []


Fault = tuple[tuple[workflow_pb2.WorkflowTask, ...], type[Exception], str]

REFUSED: list[Fault] = [
    ((task("a"), task("a")), InvalidArgument, "/tasks/1/key"),
    ((task("a b"),), InvalidArgument, "/tasks/0/key"),
    ((task("a"), task("b", "stage.a")), BadReference, "/tasks/1/spec/input/video_path"),
    ((task("a"), task("b", "tasks.nobody")), BadReference, "/tasks/1/spec/input/video_path: no such task"),
    (
        (task("a"), task("b", "stages.media.split")),
        BadReference,
        "/tasks/1/spec/input/video_path: the workflow",
    ),
    ((task("a"), task("b", after=("c",))), InvalidArgument, "/tasks/1/spec/depends_on/0"),
    ((task("a", after=("b",)), task("b", "tasks.a")), InvalidArgument, "in a circle: a → b → a"),
    ((task("a", "tasks.a"),), InvalidArgument, "refers to the task itself"),
    ((task("a"), task("b", name="media.nothing")), InvalidArgument, "no node offers task 'media.nothing'"),
    ((task("a"), task("b", user="bob")), InvalidArgument, "/tasks/1/spec/user"),
    ((task("a", task_id="x"), task("b", task_id="x")), InvalidArgument, "two tasks have one task_id"),
    ((task("a"), task("b", task_id="here")), TaskConflict, "/tasks/1/spec/task_id: task 'here' exists"),
    ((task("a"), task("b", priority=101)), InvalidArgument, "/tasks/1/spec/priority"),
    (tuple(task(f"t{n}") for n in range(101)), InvalidArgument, "/tasks: must be 1 to 100 tasks"),
]


@pytest.mark.parametrize(
    ("result", "words"),
    [
        ({"x": "audio.wav"}, "/result/x: is not"),
        ({"x": "${{ stages.media.split.output.audio_path }}"}, "/result/x: is not"),
        ({"x": "${{ tasks.a.output }}"}, "/result/x: is not"),
        ({"x": "${{ tasks.a.output." + "y" * 500 + " }}"}, "/result/x: is not"),
        ({"X": "${{ tasks.a.output.y }}"}, "/result: a name is"),
        ({f"x{n}": "${{ tasks.a.output.y }}" for n in range(33)}, "/result: more than"),
    ],
)
async def test_what_comes_out_is_a_few_names_and_references(
    flows: tuple[FakeNode, Flows], result: dict[str, str], words: str
) -> None:
    """What is none is refused at submit, with its name; a reference to a task that is not there is let in."""
    _, client = flows
    with pytest.raises(InvalidArgument, match=re.escape(words)):
        await client.submit(task("a"), result=result)
    await client.submit(task("a"), result={"left_out": "${{ tasks.nobody.output.y }}"})


async def test_another_result_is_the_same_workflow(flows: tuple[FakeNode, Flows]) -> None:
    """It is no part of the payload: a newer gateway may name what comes out otherwise, and a repetition finds its workflow."""
    _, client = flows
    await client.submit(task("a"), result={"x": "${{ tasks.a.output.x }}"})
    again = await client.submit(task("a"), result={"y": "${{ tasks.a.output.y }}"})
    assert again.reuse.hit and dict(again.spec.result) == {"x": "${{ tasks.a.output.x }}"}


async def test_a_fault_anywhere_refuses_all_of_it(
    flows: tuple[FakeNode, Flows], clean_redis: redis.Redis
) -> None:
    """Whatever is wrong with one task, nothing of the workflow is stored, and the pointer leads into the workflow."""
    _, client = flows
    await client.client.submit("here", user="bob")
    wrong = workflow_pb2.WorkflowTask(key="b", spec=task_pb2.TaskSpec(task_name="media.extract"))
    before = sorted(clean_redis.keys(PREFIX + "t:*"))
    faults: list[Fault] = [*REFUSED, ((task("a"), wrong), InvalidInput, "/tasks/1/spec/input/video_path")]
    for tasks, kind, words in faults:
        with pytest.raises(kind) as refused:
            await client.submit(*tasks)
        assert words in str(refused.value), refused.value
        if words.startswith("/") and isinstance(refused.value, InvalidArgument):
            assert refused.value.fields[0].pointer.startswith(words.partition(":")[0])
    assert sorted(clean_redis.keys(PREFIX + "t:*")) == before
    with pytest.raises(WorkflowNotFound):
        await client.get()


async def test_limits_count_all_of_its_tasks(harness: Harness) -> None:
    """A workflow whose tasks do not all fit among the user's waiting ones is refused whole; its bytes have a limit."""
    limits = LimitsSection(max_queued_per_user=3, max_workflow_bytes=1024)
    await harness.node(slots=0)
    client = await connect(harness, limits=limits)
    with pytest.raises(TooManyTasks):
        await client.submit()
    await client.submit(*CHAIN[:3])
    long = task("long")
    long.spec.input.update({"video_path": "x" * 2000})
    with pytest.raises(InvalidArgument, match="larger than 1024 bytes"):
        await client.submit(long, workflow_id="v")


async def test_the_same_submit_gives_the_same_workflow(flows: tuple[FakeNode, Flows]) -> None:
    """A repetition is answered with the workflow that is there; another payload under its id conflicts."""
    node, client = flows
    first = await client.submit()
    again = await client.submit()
    assert (first.reuse.hit, again.reuse.hit, again.reuse.state) == (False, True, "running")
    with pytest.raises(TaskConflict):
        await client.submit(*CHAIN[:2])
    await node.arrival("w-audio")
    assert node.started == [("w-audio", 1)]


async def test_a_failure_ends_what_depends_on_it_and_a_retry_goes_on_from_there(
    flows: tuple[FakeNode, Flows],
) -> None:
    """Independent tasks go on; the retry runs the failed ones under their ids and leaves the completed ones; history goes on."""
    node, client = flows
    await client.submit()
    await finish(node, "audio", "right")
    await (await node.arrival("w-left")).fail()
    first = await client.ended()
    assert first[-1].ended.state == State.TASK_STATE_FAILED
    workflow = await client.get()
    assert client.states(workflow) == {
        "audio": "completed", "left": "failed", "right": "completed", "end": "failed",
    }  # fmt: skip
    assert workflow.tasks[3].error.code == "DEPENDENCY_FAILED"
    workflow = await client.retry()
    assert workflow.state == State.TASK_STATE_RUNNING and not workflow.HasField("expire_time")
    assert not workflow.tasks[0].HasField("expire_time")
    await (await node.arrival("w-left", 2)).complete({"audio_path": "left.wav"})
    await finish(node, "end")
    rest = await client.ended(after=first[-1].sequence)
    assert rest[0].WhichOneof("event") == "retrying"
    assert rest[-1].ended.state == State.TASK_STATE_COMPLETED
    assert [event.sequence for event in await client.ended()] == list(range(1, rest[-1].sequence + 1))
    assert node.started.count(("w-audio", 1)) == 1 and ("w-right", 2) not in node.started
    with pytest.raises(WrongState, match="all tasks of workflow 'w' have completed"):
        await client.retry()


async def test_it_goes_on_from_any_stage(flows: tuple[FakeNode, Flows]) -> None:
    """A named task runs again with all that depends on it, and takes what the others had made."""
    node, client = flows
    await client.submit()
    await finish(node, "audio", "left", "right", "end")
    last = (await client.ended())[-1].sequence
    with pytest.raises(InvalidArgument, match="it has audio, left, right, end"):
        await client.retry("middle")
    workflow = await client.retry("left")
    assert client.states(workflow)["end"] == "blocked"
    here = await node.arrival("w-left", 2)
    assert here.request.spec.input["video_path"] == "audio.wav"
    with pytest.raises(WrongState):
        await client.retry()
    await here.complete()
    await finish(node, "end", attempt=2)
    assert (await client.ended(after=last))[-1].ended.state == State.TASK_STATE_COMPLETED
    assert sorted(node.started) == sorted(
        [("w-audio", 1), ("w-right", 1), *((key, n) for key in ("w-left", "w-end") for n in (1, 2))]
    )


async def test_a_cancel_stops_all_that_has_not_ended(flows: tuple[FakeNode, Flows]) -> None:
    """Waiting tasks are cancelled at once, running ones told to stop; the workflow ends with the last of them."""
    node, client = flows
    await client.submit()
    await finish(node, "audio")
    left, right = await node.arrival("w-left"), await node.arrival("w-right")
    workflow = await client.cancel()
    assert workflow.state == State.TASK_STATE_CANCELLING
    assert client.states(workflow) == {
        "audio": "completed", "left": "cancelling", "right": "cancelling", "end": "cancelled",
    }  # fmt: skip
    with pytest.raises(WrongState, match="being cancelled already"):
        await client.cancel()
    for here in (left, right):
        assert (await here.wait_cancel()).reason == "enough"
        await here.say(cancelled=task_pb2.TaskCancelled(reason="enough"))
    events = await client.ended()
    assert events[-1].ended.state == State.TASK_STATE_CANCELLED
    assert (await client.get()).cancel_reason == "enough"
    assert sum(event.HasField("ended") for event in events) == 1
    with pytest.raises(WrongState):
        await client.cancel()


async def test_a_workflow_goes_on_only_for_who_may_read_its_files(flows: tuple[FakeNode, Flows]) -> None:
    """One that was submitted with `files:all` is let go on by nobody whose key has lost that scope."""
    node, client = flows
    first = task("audio")
    first.spec.all_files = True
    await client.submit(first)
    await (await node.arrival("w-audio")).fail("MEDIA_UNREADABLE")
    await client.ended()
    with pytest.raises(PermissionDenied):
        await client.retry()
    async with rpc_errors():
        await client.stub.RetryWorkflow(workflow_pb2.RetryWorkflowRequest(workflow_id="w", all_files=True))
    await finish(node, "audio", attempt=2)


async def test_one_callback_tells_the_whole(harness: Harness) -> None:
    """One signed delivery for the workflow, when all of it has ended; a later end has a delivery, and an id, of its own."""
    receiver = await harness.stack.enter_async_context(receiving())
    node = await harness.node(slots=20)
    client = await connect(harness, callbacks=section())
    await client.submit(callback_url=receiver.url)
    await finish(node, "audio", "right")
    await (await node.arrival("w-left")).fail("MEDIA_UNREADABLE")
    await client.ended()
    headers, raw = await receiver.wait(1)
    Webhook(SECRETS[0]).verify(raw, headers)
    body = json.loads(raw)
    assert (body["workflow_id"], body["status"]) == ("w", "failed")
    assert body["result"]["error"] == "media.extract: MEDIA_UNREADABLE: it broke"
    assert [one["status"] for one in body["result"]["tasks"]] == ["SUCCESS", "FAILED", "SUCCESS", "FAILED"]
    await client.retry()
    await finish(node, "left", attempt=2)
    await finish(node, "end")
    _, raw = await receiver.wait(2)
    assert json.loads(raw)["status"] == "completed"
    assert receiver.ids() == ["msg_workflow/w_1", "msg_workflow/w_2"]


async def test_a_task_that_is_submitted_again_by_itself_opens_its_workflow(
    flows: tuple[FakeNode, Flows],
) -> None:
    """A failed member's own resubmission makes the workflow run, and end, again."""
    node, client = flows
    await client.submit(task("audio"))
    await (await node.arrival("w-audio")).fail()
    first = await client.ended()
    await client.client.submit("w-audio", workflow_id="w", input={"video_path": "film.mp4"})
    assert (await client.get()).state == State.TASK_STATE_RUNNING
    await finish(node, "audio", attempt=2)
    rest = await client.ended(after=first[-1].sequence)
    assert [rest[0].WhichOneof("event"), rest[-1].ended.state] == ["retrying", State.TASK_STATE_COMPLETED]


async def test_tasks_that_share_an_id_are_a_workflow_to_read(flows: tuple[FakeNode, Flows]) -> None:
    """Tasks that were submitted one by one are shown together, each user's own, and cannot be cancelled as one."""
    node, client = flows
    await client.client.submit("one", workflow_id="w")
    await client.client.submit("two", workflow_id="w", user="bob")
    workflow = await client.get(user="anonymous")
    assert [one.spec.task_id for one in workflow.tasks] == ["one"]
    assert (await client.get(user="bob")).tasks[0].spec.task_id == "two"
    await (await node.arrival("one")).complete()
    await client.client.ended("one")
    assert (await client.get(user="anonymous")).state == State.TASK_STATE_COMPLETED
    for call in (client.cancel(), client.retry(), client.ended()):
        with pytest.raises(WorkflowNotFound):
            await call


async def test_a_list_is_by_user_and_state_newest_first(flows: tuple[FakeNode, Flows]) -> None:
    """Pages go on where the last ended; a foreign token is refused."""
    node, client = flows
    for n in range(3):
        await client.submit(task("audio"), workflow_id=f"w{n}")
    await client.submit(task("audio"), workflow_id="other", user="bob")
    await (await node.arrival("w1-audio")).complete()
    await client.ended(workflow_id="w1")
    ask = workflow_pb2.ListWorkflowsRequest(user="anonymous", page_size=2)
    found = []
    while True:
        page = await client.stub.ListWorkflows(ask)
        found += [one.spec.workflow_id for one in page.workflows]
        if not page.next_page_token:
            break
        ask.page_token = page.next_page_token
    assert found == ["w2", "w1", "w0"]
    done = workflow_pb2.ListWorkflowsRequest(states=[State.TASK_STATE_COMPLETED])
    assert [one.spec.workflow_id for one in (await client.stub.ListWorkflows(done)).workflows] == ["w1"]
    done.page_token = "x"
    with pytest.raises(InvalidArgument):
        async with rpc_errors():
            await client.stub.ListWorkflows(done)


async def test_scheduler_dies_in_the_middle(harness: Harness) -> None:
    """Another replica ends the workflow: nothing runs twice, nothing is lost, and its history has no hole."""
    node = await harness.node(slots=20)
    first = await connect(harness)
    await first.submit()
    await finish(node, "audio")
    left = await node.arrival("w-left")
    await node.arrival("w-right")  # one that is claimed and not begun waits for its lease to lapse
    await first.client.scheduler.attempts.retire()
    await first.client.scheduler.dispatcher.drain()
    second = await connect(harness)
    await left.complete({"audio_path": "left.wav"})
    await finish(node, "right", "end")
    events = await second.ended()
    assert events[-1].ended.state == State.TASK_STATE_COMPLETED
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert sorted(node.started) == [("w-audio", 1), ("w-end", 1), ("w-left", 1), ("w-right", 1)]


@pytest.mark.trial("10.21")
async def test_a_workflow_and_its_tasks_go_together(harness: Harness, clean_redis: redis.Redis) -> None:
    """No task of it expires while it runs; after `workflow_ttl_days` from its end everything is gone, to the last key."""
    node = await harness.node(slots=20)
    client = await connect(harness, result_ttl_seconds=0.05, workflow_ttl_days=0.4 / 86400)
    await client.submit(task("audio"), task("copy", "tasks.audio"))
    await finish(node, "audio")
    await node.arrival("w-copy")
    keys = Keys(PREFIX)
    assert clean_redis.zcard(keys.expiry) == 0
    await finish(node, "copy")
    await client.ended()
    async with asyncio.timeout(10):
        while clean_redis.keys(PREFIX + "t:*") or clean_redis.exists(keys.workflows):
            await asyncio.sleep(0.02)
    assert not clean_redis.exists(keys.workflow("w"), keys.user_workflows("anonymous"))
