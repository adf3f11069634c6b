"""What nodes publish: each its own types, with schemas that are closed; everything else is refused aloud and changes nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import redis

from runtime.errors import InvalidInput, UnknownTaskType
from scheduler import metrics
from scheduler.queue.keys import Keys
from scheduler.queue.task_types import MAX_TYPES
from tests.scheduler.conftest import Client, Harness, until
from tests.scheduler.fake_node import SCHEMA, FakeNode
from yivideo.task.v1 import task_pb2


@pytest.fixture
async def visited() -> AsyncIterator[tuple[int, list[str]]]:
    """A server on loopback that notes who connects: its port, and the visits."""
    visits: list[str] = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visits.append("came")
        writer.close()

    server = await asyncio.start_server(note, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], visits


async def problems(client: Client, node: str) -> list[str]:
    """What ListQueues says is wrong with a node's replicas."""
    (queue,) = (await client.stub.ListQueues(task_pb2.ListQueuesRequest(node=node))).queues
    return list(queue.problems)


@pytest.mark.trial("10.18")
async def test_a_schema_with_an_outside_reference_is_refused_and_nothing_fetched(
    harness: Harness, visited: tuple[int, list[str]]
) -> None:
    """The type is refused by name and reason in ListQueues and the metrics; the node's other types run; nobody is connected to."""
    port, visits = visited
    node = FakeNode(auto=True)
    node.types["bad"] = task_pb2.TaskType(
        name="media.bad", node="media", input_schema=json.dumps({"$ref": f"http://127.0.0.1:{port}/x"})
    )
    await harness.node(node)
    before = metrics.TASK_TYPES_REFUSED.labels("media")._value.get()
    client = await harness.scheduler()
    await client.submit("t1")
    await client.ended("t1")
    with pytest.raises(UnknownTaskType):
        await client.submit("t2", "media.bad")
    (problem,) = await problems(client, "media")
    assert "'media.bad'" in problem and "leads out of the schema" in problem
    assert metrics.TASK_TYPES_REFUSED.labels("media")._value.get() == before + 1
    assert visits == []


@pytest.mark.trial("10.18")
@pytest.mark.parametrize("says", ["painter", "media"])
async def test_a_node_never_takes_over_another_nodes_type(harness: Harness, says: str) -> None:
    """A type belongs to the node that its name begins with: who publishes another's is told, and that one keeps its type."""
    owner = await harness.node(auto=True)
    thief = FakeNode("painter", auto=True, replica="p1")
    thief.types["stolen"] = task_pb2.TaskType(name="media.extract", node=says, input_schema="{}")
    await harness.node(thief)
    client = await harness.scheduler()
    await until(lambda: client.scheduler.types.find("painter.extract"))
    with pytest.raises(InvalidInput):  # by the owner's schema still
        await client.submit("t1", input={})
    await client.submit("t2")
    assert (await client.ended("t2")).state == task_pb2.TASK_STATE_COMPLETED
    assert owner.started == [("t2", 1)] and not thief.started
    (problem,) = await problems(client, "painter")
    assert "'media.extract'" in problem and "belongs to the node" in problem
    assert await problems(client, "media") == []


@pytest.mark.trial("10.18")
async def test_an_address_that_is_another_node_is_told(harness: Harness) -> None:
    """A replica that says another name than the settings give its address gets no task, and ListQueues says why."""
    await harness.node(FakeNode("painter", auto=True))
    harness.addresses["media"] = harness.addresses.pop("painter")
    client = await harness.scheduler(ready=0)
    (link,) = client.scheduler.dispatcher.links
    await until(lambda: link.problems)
    (problem,) = await problems(client, "media")
    assert "'painter'" in problem and "'media'" in problem and link.address in problem


@pytest.mark.trial("10.18")
async def test_a_type_taken_over_before_is_given_back(
    harness: Harness, clean_redis: redis.Redis, keys: Keys
) -> None:
    """What an older scheduler stored under a name that is not the node's is left out when the catalogue is read."""
    stolen = task_pb2.TaskType(name="media.extract", node="painter", input_schema="{}")
    clean_redis.hset(keys.types, "media.extract", stolen.SerializeToString())
    client = await harness.scheduler()
    with pytest.raises(UnknownTaskType):
        await client.submit("t1")


@pytest.mark.trial("10.18")
async def test_a_replica_whose_condition_is_nonsense_is_refused(harness: Harness) -> None:
    """More free slots than slots, or a replica without a name that Redis keys could carry, is not in sight; another one is."""
    odd, good = FakeNode(slots=1, replica="two words"), FakeNode(auto=True, replica="r2")
    await harness.node(odd)
    await harness.node(good)
    client = await harness.scheduler(ready=1)
    await client.submit("t1")
    await client.ended("t1")
    await until(lambda: any(link.problems for link in client.scheduler.dispatcher.links))
    (problem,) = await problems(client, "media")
    assert "`replica`" in problem
    odd.replica, odd.slots = "r1", -1
    await until(
        lambda: any(
            "slots" in problem for link in client.scheduler.dispatcher.links for problem in link.problems
        )
    )
    assert good.started == [("t1", 1)]


@pytest.mark.trial("10.18")
async def test_an_answer_that_is_an_error_does_not_end_the_link(harness: Harness) -> None:
    """A node that cannot tell its types is asked again, and used when it can: the link outlives any answer."""
    node = FakeNode(auto=True)
    answers = [NotImplementedError, None, "types"]

    async def list_types(request: object, context: object) -> task_pb2.ListTaskTypesResponse:
        kind = answers.pop(0) if len(answers) > 1 else answers[0]
        if kind is NotImplementedError:
            raise NotImplementedError
        if kind is None:
            extra = [task_pb2.TaskType(name=f"media.t{n}", node="media") for n in range(MAX_TYPES)]
            return task_pb2.ListTaskTypesResponse(task_types=[*node.types.values(), *extra])
        return task_pb2.ListTaskTypesResponse(task_types=node.types.values())

    node.ListTaskTypes = list_types  # type: ignore[method-assign]
    await harness.node(node)
    client = await harness.scheduler()
    await client.submit("t1")
    await client.ended("t1")
    (problem,) = await problems(client, "media")
    assert f"at most {MAX_TYPES}" in problem
    assert SCHEMA["required"] == ["video_path"]
