"""The stream of attempts as the scheduler uses it: many tasks, one stream; and a node that does not know it."""

from __future__ import annotations

import asyncio

import grpc

from runtime.errors import Unavailable
from scheduler.run.node_stream import Followed, NodeStream, StreamEnd
from tests.scheduler.conftest import Harness, until
from yivideo.task.v1 import task_pb2


async def test_many_tasks_share_one_stream(harness: Harness) -> None:
    """Each task gets its own events and its own end."""
    node = await harness.node(slots=3, auto=True)
    client = await harness.scheduler()
    for number in range(12):
        await client.submit(f"t{number}")
    for number in range(12):
        events = await client.events(f"t{number}")
        assert [event.WhichOneof("event") for event in events] == ["accepted", "started", "completed"]
    assert len(node.started) == 12 and node.most_at_once <= 3


async def test_large_requests_do_not_share_a_message() -> None:
    """Messages are closed when they are large, whatever the number of attempts asked for at once."""
    async with grpc.aio.insecure_channel("127.0.0.1:1") as channel:
        stream = NodeStream(channel, 5.0)
        spec = task_pb2.TaskSpec(task_id="t", workflow_id="w" * 100_000)
        for _ in range(20):
            stream.follow(task_pb2.RunTaskRequest(spec=spec), lambda: None)
        seen: list[int] = []
        while stream._asked:
            message = stream._next_message()
            assert message.ByteSize() < 512 * 1024
            seen += [asked.watch for asked in message.follow]
        assert seen == list(range(1, 21))
        await stream.aclose()


async def test_a_broken_stream_is_opened_again(harness: Harness) -> None:
    """Every attempt on it attaches again, in its first attempt, and nothing of its events is lost or doubled."""
    node = await harness.node(slots=3)
    client = await harness.scheduler(lost_seconds=10)
    for name in ("t1", "t2", "t3"):
        await client.submit(name)
    heres = [await node.arrival(name) for name in ("t1", "t2", "t3")]
    await heres[0].progress(10)
    (link,) = client.scheduler.dispatcher.links
    running = link.stream._running
    assert running is not None
    running.cancel()
    await until(lambda: all(here.attached == 1 for here in heres))
    for here in heres:
        await here.progress(50)
        await here.complete()
    for name in ("t1", "t2", "t3"):
        events = await client.events(name)
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        assert [event.WhichOneof("event") for event in events].count("started") == 1
    assert len(node.started) == 3


class Asked:
    """In place of a stream: notes what is asked for and let go of."""

    def __init__(self) -> None:
        self.after: list[int] = []
        self.left: list[int] = []

    def ask(self, followed: Followed, request: task_pb2.RunTaskRequest) -> int:
        """Note it; gives a new number."""
        self.after.append(request.after_sequence)
        assert request.attach_only is (len(self.after) > 1)
        return len(self.after)

    def let_go(self, watch: int) -> None:
        """Note it."""
        self.left.append(watch)


async def test_a_reader_that_falls_behind_catches_up() -> None:
    """Events for a busy runner are kept up to a bound; past it the watch is let go of, and taken up again where it was."""
    asked = Asked()
    followed = Followed(asked, task_pb2.RunTaskRequest(attempt=1), lambda: None)  # type: ignore[arg-type]
    for sequence in range(1, 1000):
        followed.put(task_pb2.TaskEvent(sequence=sequence))
    assert (asked.after, asked.left) == ([0], [1])
    seen = []
    while not followed.empty:
        item = await followed.get()
        assert not isinstance(item, StreamEnd)
        seen.append(item.sequence)
    assert seen == list(range(1, len(seen) + 1)) and 0 < len(seen) < 999
    reading = asyncio.create_task(followed.get())
    await asyncio.sleep(0)
    assert asked.after == [0, len(seen)]
    followed.put(task_pb2.TaskEvent(sequence=len(seen) + 1))
    item = await reading
    assert not isinstance(item, StreamEnd) and item.sequence == len(seen) + 1


async def test_an_attempt_that_is_let_go_of_tells_the_node_once() -> None:
    """Cancelling wakes who waits and lets go of the watch; what comes later is not heard."""
    asked = Asked()
    heard: list[str] = []
    followed = Followed(asked, task_pb2.RunTaskRequest(attempt=1), lambda: heard.append("heard"))  # type: ignore[arg-type]
    reading = asyncio.create_task(followed.get())
    await asyncio.sleep(0)
    followed.put(task_pb2.TaskEvent(heartbeat=task_pb2.Heartbeat()))
    followed.cancel()
    followed.cancel()
    followed.put(task_pb2.TaskEvent(sequence=1))
    end = await reading
    assert isinstance(end, StreamEnd) and isinstance(end.error, Unavailable)
    assert (asked.left, heard, followed.empty) == ([1], ["heard"], True)


async def test_what_is_let_go_of_before_it_was_asked_for_is_not_asked_for() -> None:
    """A watch that is given up before its request has left never reaches the node, where nobody would ever let go of it."""
    async with grpc.aio.insecure_channel("127.0.0.1:1") as channel:
        stream = NodeStream(channel, 5.0)
        kept = stream.follow(task_pb2.RunTaskRequest(attempt=1), lambda: None)
        stream.follow(task_pb2.RunTaskRequest(attempt=2), lambda: None).cancel()
        message = stream._next_message()
        assert [one.request.attempt for one in message.follow] == [1] and not message.leave
        end = await kept.get()
        assert isinstance(end, StreamEnd) and isinstance(end.error, Unavailable)
        await stream.aclose()
