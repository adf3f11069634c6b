"""Task types that nobody runs any more: what is told of them, and who waits for them."""

from __future__ import annotations

import pytest
import redis

from runtime.channel import open_channel
from runtime.errors import NodeUnavailable, TaskConflict, UnknownTaskType
from runtime.rpc_errors import rpc_errors
from runtime.structs import to_struct
from scheduler.queue.availability import Availability
from scheduler.queue.keys import Keys
from scheduler.queue.redis_link import connected
from scheduler.settings import SchedulerSection
from tests.scheduler.conftest import RUNTIME, Client, Harness, until
from tests.scheduler.short_times import SHORT
from yivideo.task.v1 import task_pb2, workflow_pb2, workflow_pb2_grpc

REFUSE = task_pb2.WHEN_UNAVAILABLE_REFUSE
WAIT = task_pb2.WHEN_UNAVAILABLE_WAIT


async def types(client: Client) -> dict[str, task_pb2.TaskType]:
    async with rpc_errors():
        answer = await client.stub.ListTaskTypes(task_pb2.ListTaskTypesRequest())
    return {kind.name: kind for kind in answer.task_types}


@pytest.mark.trial("10.10")
async def test_a_type_that_nobody_runs_says_so_and_waits_or_is_refused(harness: Harness) -> None:
    """Listed with when it was last seen; a task waits for `no replica of node media`, unless its submit will not have that."""
    node = await harness.node()
    client = await harness.scheduler(unavailable_seconds=0)
    assert (await types(client))["media.extract"].available
    await client.scheduler.availability.refresh()
    await client.submit("before")
    await (await node.arrival("before")).complete()
    await client.ended("before")
    node.draining = True
    await node.notify()
    await until(lambda: not client.scheduler.dispatcher.offers("media.extract"))
    gone = (await types(client))["media.extract"]
    assert not gone.available and gone.HasField("last_seen_time")
    said = "no replica of node media; it waits until one is there"
    assert (await client.submit("waits")).waiting_reason == said
    shown = await client.get("waits")
    assert (shown.waiting_reason, shown.lacks_replica) == (said, True)
    with pytest.raises(NodeUnavailable, match="no replica of node media") as refused:
        await client.submit("refused", when_unavailable=REFUSE)
    assert refused.value.fields[0].pointer == "/task_name"
    assert (await client.submit("before", when_unavailable=REFUSE)).reuse.hit, "what is there is shown"
    with pytest.raises(TaskConflict):
        await client.submit("before", priority=3, when_unavailable=REFUSE)
    later = await client.submit("later", delay_seconds=60)
    assert (later.waiting_reason, later.lacks_replica) == ("waiting for its start time", False)
    node.draining = False
    await node.notify()
    await (await node.arrival("waits")).complete()
    assert (await client.ended("waits")).state == task_pb2.TASK_STATE_COMPLETED
    assert (await types(client))["media.extract"].available


async def test_who_waits_for_a_node_is_told_how_it_is_started(harness: Harness) -> None:
    """Where the installation has a command for it: in what a task, a workflow's task and a refusal say; not for another node."""
    node = await harness.node()
    starts = {"media": "make run nodes=films", "asr": "make run nodes=asr"}
    client = await harness.scheduler(unavailable_seconds=0, starts=starts)
    await client.scheduler.availability.refresh()
    node.draining = True
    await node.notify()
    await until(lambda: not client.scheduler.dispatcher.offers("media.extract"))
    said = "no replica of node media: start it with `make run nodes=films`"
    assert (await client.submit("t")).waiting_reason == f"{said}; it waits until one is there"
    with pytest.raises(NodeUnavailable, match=said):
        await client.submit("refused", when_unavailable=REFUSE)
    spec = workflow_pb2.WorkflowSpec(workflow_id="w")
    spec.tasks.add(
        key="a", spec=task_pb2.TaskSpec(task_name="media.extract", input=to_struct({"video_path": "a"}))
    )
    async with open_channel(client.address, RUNTIME) as channel:
        workflows = workflow_pb2_grpc.WorkflowServiceStub(channel)
        made = await workflows.SubmitWorkflow(workflow_pb2.SubmitWorkflowRequest(spec=spec))
    assert made.tasks[0].waiting_reason.startswith(said)


@pytest.mark.trial("10.10")
async def test_an_installation_may_refuse_by_default(harness: Harness) -> None:
    """`refuse_unavailable` refuses, `when_unavailable` of a submit goes before it; a type that its node no longer has is told."""
    node = await harness.node()
    await harness.scheduler()
    del node.types["split"]
    client = await harness.scheduler(refuse_unavailable=True, unavailable_seconds=0)
    with pytest.raises(NodeUnavailable, match=r"no replica of node media offers media\.split"):
        await client.submit("x", "media.split")
    assert (
        "offers media.split"
        in (await client.submit("x", "media.split", when_unavailable=WAIT)).waiting_reason
    )
    await client.submit("y")


@pytest.mark.trial("10.10")
async def test_what_one_scheduler_sees_is_available_for_all_and_forgotten_after_its_time(
    harness: Harness, clean_redis: redis.Redis, keys: Keys
) -> None:
    """Another replica without a link knows it for `unavailable_seconds`; after `forget_types_seconds` the type is unknown."""
    await harness.node()
    client = await harness.scheduler()
    await client.scheduler.availability.refresh()
    clock = [0.0]
    section = SchedulerSection(redis_url=harness.redis_url, **SHORT)
    async with connected(section) as link:
        other = Availability(link, keys, section, set, lambda _: False, clock=lambda: clock[0])
        await other.refresh()
        assert other.is_available("media.extract") and other.has_node("media")
        assert not other.is_available("media.none") and not other.has_node("med")
        clock[0] += section.unavailable_seconds + 1
        assert not other.is_available("media.extract")
        await harness.stack.aclose()
        old = dict.fromkeys(clean_redis.hkeys(keys.seen), 1)
        clean_redis.hset(keys.seen, mapping=old)  # type: ignore[arg-type]
        await other.refresh()
        assert other.last_seen_ms("media.extract") == 0
    harness.addresses.clear()
    later = await harness.scheduler()
    with pytest.raises(UnknownTaskType):
        await later.submit("x")
