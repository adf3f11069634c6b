"""Workflows that are submitted as a whole, over real gRPC: stored or refused as one, watched and listed as one."""

from __future__ import annotations

import re

import pytest
import redis

from runtime.errors import (
    BadReference,
    InvalidArgument,
    InvalidInput,
    TaskConflict,
    TooManyTasks,
    WorkflowNotFound,
)
from runtime.rpc_errors import rpc_errors
from scheduler.settings import LimitsSection
from tests.scheduler.api.flows import CHAIN, Flows, connect, finish, task
from tests.scheduler.conftest import Harness
from tests.scheduler.fake_node import FakeNode
from tests.scheduler.short_times import PREFIX
from yivideo.task.v1 import task_pb2, workflow_pb2

pytestmark = pytest.mark.trial("10.9")

State = task_pb2.TaskState


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
