"""Messages of a node that cannot be read or kept: each costs its own attempt the task, at once, and no other attempt anything."""

from __future__ import annotations

import asyncio
import struct

import grpc
import pytest

from runtime import errors
from runtime.rpc_errors import to_status
from runtime.structs import from_struct
from scheduler.run.node_messages import MAX_EVENT_BYTES, MAX_RECEIVED_BYTES, read_message
from scheduler.run.node_stream import StreamEnd
from scheduler.run.watch_end import Meaning, meaning
from tests.scheduler.conftest import Harness, until
from tests.scheduler.fake_node import FakeNode, wire
from yivideo.task.v1 import task_pb2

COMPLETED, LOG, PROGRESS, CHECKPOINT, FAILED = 15, 8, 7, 14, 16
SEQUENCE = wire(3, 2)


def nested(levels: int, inner: bytes = wire(3, b"end")) -> bytes:
    """A Struct with so many objects inside each other, as protobuf writes it."""
    value = inner
    for _ in range(levels):
        value = wire(5, wire(1, wire(1, b"a") + wire(2, value)))
    return wire(1, wire(1, b"a") + wire(2, value))


def completed(output: bytes, *more: bytes) -> bytes:
    return SEQUENCE + wire(COMPLETED, wire(1, output) + b"".join(more))


def number(value: float) -> bytes:
    return b"\x11" + struct.pack("<d", value)


def text(size: int) -> bytes:
    return wire(1, wire(1, b"a") + wire(2, wire(3, b"x" * size)))


def stored(path: str, size: int = 1) -> bytes:
    return wire(2, wire(1, b"a") + wire(3, path.encode()) + wire(5, size & (2**64 - 1)))


INVALID, LARGE = "NODE_MESSAGE_INVALID", "OUTPUT_TOO_LARGE"


@pytest.mark.trial("10.17")
@pytest.mark.parametrize(
    ("event", "end", "code", "words"),
    [
        (completed(nested(60)), True, INVALID, "nested too deep"),
        (completed(nested(28)), True, INVALID, "deeper than 28"),
        (completed(text(6 * 1024 * 1024)), True, LARGE, "6291"),
        (completed(text(2 * 1024 * 1024)), True, LARGE, "1 MiB"),
        (completed(text(1), *[stored(f"t1/{n}") for n in range(10_001)]), True, LARGE, "files"),
        (completed(text(1), stored("somebody/secret.mp4")), True, INVALID, "somebody/secret.mp4"),
        (completed(text(1), stored("t1/../x")), True, INVALID, "t1/../x"),
        (completed(text(1), stored("t1/x", -5)), True, INVALID, "-5"),
        (completed(nested(1, number(float("nan")))), True, INVALID, "nan"),
        (completed(wire(1, wire(1, b"\xff\xfe") + wire(2, wire(3, b"x")))), True, INVALID, "UTF-8"),
        (SEQUENCE + wire(LOG, wire(2, b"caf\xe9")), False, INVALID, "UTF-8"),
        (SEQUENCE + wire(LOG, wire(2, b"x" * (MAX_EVENT_BYTES + 1))), False, LARGE, "event of"),
        (SEQUENCE + wire(PROGRESS, wire(4, nested(60))), False, INVALID, "nested too deep"),
        (SEQUENCE + wire(CHECKPOINT, wire(1, text(65 * 1024))), False, INVALID, "checkpoint"),
        (SEQUENCE + wire(CHECKPOINT, wire(1, nested(30))), False, INVALID, "checkpoint"),
        (SEQUENCE + b"\x7a\xff", True, INVALID, "damaged"),
    ],
)
async def test_what_cannot_be_kept_fails_its_own_task_at_once(
    harness: Harness, capsys: pytest.CaptureFixture[str], event: bytes, end: bool, code: str, words: str
) -> None:
    """One attempt, one clear code with its reason; the other attempt of the replica sees no break and ends well."""
    node = await harness.node(slots=2)
    client = await harness.scheduler()
    await client.submit("t0")
    other = await node.arrival("t0")
    await client.submit("t1")
    here = await node.arrival("t1")
    await here.say_raw(event, end=end)
    task = await client.ended("t1")
    assert (task.state, task.error.code) == (task_pb2.TASK_STATE_FAILED, code)
    assert words in task.error.message and not task.error.retryable
    assert words in capsys.readouterr().out, "the log says why, too"
    assert end or here.cancel is not None, "an attempt that goes on is stopped"
    await other.complete()
    assert (await client.ended("t0")).state == task_pb2.TASK_STATE_COMPLETED
    assert other.attached == 0 and node.started == [("t0", 1), ("t1", 1)], "no break, no second attempt"


@pytest.mark.trial("10.17")
async def test_a_message_larger_than_all_bounds_is_traced_to_its_attempt(harness: Harness) -> None:
    """What gRPC itself does not take breaks the stream once; on streams of their own the others end well, and the culprit fails."""
    node = await harness.node(slots=3)
    client = await harness.scheduler(lost_seconds=30)
    heres = []
    for name in ("t0", "t1", "t2"):
        await client.submit(name)
        heres.append(await node.arrival(name))
    await heres[1].say_raw(completed(text(MAX_RECEIVED_BYTES)), end=True)
    task = await client.ended("t1")
    assert (task.error.code, task.attempt, task.worker_lost_count) == (LARGE, 1, 0)
    await until(lambda: all(here.attached == 1 for here in (heres[0], heres[2])))
    (link,) = client.scheduler.dispatcher.links
    for name, here in (("t0", heres[0]), ("t2", heres[2])):
        await here.progress(50)
        await here.complete()
        assert (await client.ended(name)).state == task_pb2.TASK_STATE_COMPLETED
    await client.submit("t3")
    await (await node.arrival("t3")).complete()
    assert (await client.ended("t3")).state == task_pb2.TASK_STATE_COMPLETED
    await until(lambda: not link.stream._apart)


@pytest.mark.trial("10.17")
async def test_what_passes_by_is_cut(harness: Harness) -> None:
    """Long texts, odd percentages and unknown levels of what only passes by cost nobody a task: they are cut to the contract."""
    node = await harness.node()
    client = await harness.scheduler()
    await client.submit("t1")
    here = await node.arrival("t1")
    await here.say(log=task_pb2.TaskLog(level="LOUD", message="é" * 100_000))
    await here.say(waiting_for_gpu=task_pb2.WaitingForGpu(position=-3, memory_mib=-1))
    for percent in (float("nan"), float("inf"), -1.0):
        progress = task_pb2.Progress(percent=percent, stage="s" * 1000, message="m" * 1000)
        progress.data.update({"a": "x" * 5000})
        await here.say(progress=progress)
    error = task_pb2.TaskError(code="not a code", message="m" * 10_000, field="f" * 1000)
    await here.say(failed=task_pb2.TaskFailed(error=error, duration_seconds=float("nan")))
    events = await client.events("t1")
    (log,) = [event.log for event in events if event.HasField("log")]
    assert log.level == "info" and len(log.message.encode()) <= 2000
    (waiting,) = [event.waiting_for_gpu for event in events if event.HasField("waiting_for_gpu")]
    assert (waiting.position, waiting.memory_mib) == (0, 0)
    told = [event.progress for event in events if event.HasField("progress")]
    assert told and all(one.percent in (0.0, 100.0) for one in told)
    assert all(len(one.stage) <= 64 and len(one.message) <= 500 and not one.HasField("data") for one in told)
    task = await client.get("t1")
    assert (task.error.code, task.duration_seconds) == ("INTERNAL", 0.0)
    assert len(task.error.message.encode()) <= 2000 and len(task.error.field) <= 200


@pytest.mark.trial("10.17")
async def test_a_watch_closed_without_an_end_fails_the_task(harness: Harness) -> None:
    """OK without the attempt's end, as of a node that numbers every event 1, is told at once instead of attached to for ever."""
    node = await harness.node()
    client = await harness.scheduler()
    await client.submit("t1")
    here = await node.arrival("t1")
    await here.progress(10)
    async with asyncio.timeout(5):
        while (await client.get("t1")).progress.percent != 10:
            await asyncio.sleep(0.01)
    await here.say_raw(wire(3, 1) + wire(COMPLETED, wire(1, text(1))), end=True)
    task = await client.ended("t1")
    assert task.error.code == INVALID and "end" in task.error.message


@pytest.mark.trial("10.17")
async def test_the_largest_allowed_output_is_kept(harness: Harness) -> None:
    """28 levels, or a mebibyte, or a path under the task's own prefix, are no fault."""
    node = await harness.node()
    client = await harness.scheduler()
    for name, output in (("deep", nested(27)), ("large", text(1024 * 1024 - 64))):
        await client.submit(name)
        await (await node.arrival(name)).say_raw(completed(output, stored(f"{name}/a b.wav")), end=True)
        task = await client.ended(name)
        assert task.state == task_pb2.TASK_STATE_COMPLETED and from_struct(task.output), task.error
        assert [file.path for file in task.files] == [f"{name}/a b.wav"]


def test_a_message_is_taken_apart_only_when_it_must_be() -> None:
    """What is readable is read in one go; else each event and end is read for itself; garbage is known as such."""
    good = task_pb2.FollowAttemptsResponse(
        events=[task_pb2.FollowedEvent(watch=1)], ends=[task_pb2.FollowedEnd(watch=1)]
    )
    told = read_message(good.SerializeToString())
    assert told.readable and told.ends == [(1, None)] and [watch for watch, _ in told.events] == [1]
    status = to_status(errors.TaskNotFound("not here")).SerializeToString()
    mixed = (
        wire(1, wire(1, 1) + wire(2, wire(LOG, wire(2, b"\xff"))))
        + wire(1, wire(1, 2) + wire(2, wire(3, 9)))
        + wire(2, wire(1, 3) + wire(2, status))
        + wire(2, wire(1, 4) + wire(2, b"\xff"))
    )
    told = read_message(mixed)
    assert isinstance(told.events[0][1], errors.NodeMessageInvalid)
    assert told.events[1] == (2, task_pb2.TaskEvent(sequence=9))
    assert [type(error) for _, error in told.ends] == [errors.TaskNotFound, errors.NodeMessageInvalid]
    assert not read_message(b"\xff\xff").readable
    assert read_message(b"").readable


def bare(code: grpc.StatusCode) -> errors.YiVideoError:
    """What a node that sends no ErrorInfo says."""
    return errors.class_by_status(code)("no")


@pytest.mark.trial("10.16")
@pytest.mark.parametrize(
    ("error", "start", "attach"),
    [
        (bare(grpc.StatusCode.RESOURCE_EXHAUSTED), Meaning.NOT_STARTED, Meaning.BROKEN),
        (errors.NoFreeSlot("full"), Meaning.NOT_STARTED, Meaning.BROKEN),
        (bare(grpc.StatusCode.UNAVAILABLE), Meaning.NOT_STARTED, Meaning.BROKEN),
        (errors.Draining("going"), Meaning.NOT_STARTED, Meaning.BROKEN),
        (bare(grpc.StatusCode.NOT_FOUND), Meaning.BROKEN, Meaning.GONE),
        (bare(grpc.StatusCode.ABORTED), Meaning.GONE, Meaning.GONE),
        (bare(grpc.StatusCode.INVALID_ARGUMENT), Meaning.REFUSED, Meaning.REFUSED),
        (bare(grpc.StatusCode.ALREADY_EXISTS), Meaning.REFUSED, Meaning.REFUSED),
        (bare(grpc.StatusCode.FAILED_PRECONDITION), Meaning.REFUSED, Meaning.REFUSED),
        (bare(grpc.StatusCode.UNIMPLEMENTED), Meaning.REFUSED, Meaning.REFUSED),
        (bare(grpc.StatusCode.INTERNAL), Meaning.BROKEN, Meaning.BROKEN),
        (None, Meaning.UNUSABLE, Meaning.UNUSABLE),
    ],
)
def test_status_codes_are_enough(error: errors.YiVideoError | None, start: Meaning, attach: Meaning) -> None:
    """A bare status means what the same status with one of our reasons means; a break of the stream means nothing."""
    assert meaning(StreamEnd(error, by_node=True), attach_only=False)[0] is start
    assert meaning(StreamEnd(error, by_node=True), attach_only=True)[0] is attach
    assert meaning(StreamEnd(error), attach_only=False)[0] is Meaning.BROKEN
    begun = meaning(StreamEnd(error, by_node=True, begun=True), attach_only=False)[0]
    assert begun is (Meaning.BROKEN if start is Meaning.NOT_STARTED else start)


@pytest.mark.trial("10.16")
@pytest.mark.parametrize(
    "refuses", [bare(grpc.StatusCode.RESOURCE_EXHAUSTED), bare(grpc.StatusCode.UNAVAILABLE)]
)
async def test_a_full_node_that_sends_no_reasons_loses_no_attempt(
    harness: Harness, refuses: errors.YiVideoError
) -> None:
    """A task that found no slot goes back uncounted and runs when there is one; it is never WORKER_LOST."""
    node = FakeNode(auto=True)
    node.refusal, node.reasons = refuses, False
    await harness.node(node)
    client = await harness.scheduler()
    await client.submit("t1")
    async with node.changed:
        await node.changed.wait_for(lambda: node.refused >= 2)
    node.refusal = None
    task = await client.ended("t1")
    assert (task.state, task.attempt, task.worker_lost_count) == (task_pb2.TASK_STATE_COMPLETED, 1, 0)


@pytest.mark.trial("10.17")
async def test_odd_but_harmless_messages_change_nothing(harness: Harness) -> None:
    """Other ids, clocks far off, numbers sent again, watches nobody asked for, and what comes after the end have no effect."""
    node = await harness.node()
    client = await harness.scheduler()
    await client.submit("t1")
    here = await node.arrival("t1")
    log = wire(LOG, wire(1, b"info") + wire(2, b"hello"))
    far = wire(4, wire(1, 2**62) + wire(2, 2**31 - 1))
    await here.say_raw(wire(1, b"somebody-else") + wire(2, 99) + wire(3, 2) + far + log)
    await here.say_raw(wire(3, 2) + log)
    await here.say_raw(wire(3, 1) + log)
    await here.say_raw(wire(3, 0) + log)
    for watch in (0, 77, 2**63 - 1):
        await node.inject(wire(1, wire(1, watch) + wire(2, wire(3, 3) + log)) + wire(2, wire(1, watch)))
    await here.say_raw(wire(3, 9) + wire(COMPLETED, wire(1, text(1))), end=True)
    task = await client.ended("t1")
    assert task.state == task_pb2.TASK_STATE_COMPLETED
    await node.inject(wire(1, wire(1, 1) + wire(2, wire(3, 10) + wire(FAILED, wire(1, wire(1, b"LATE"))))))
    await node.inject(wire(2, wire(1, 1)))
    events = await client.events("t1")
    assert [event.WhichOneof("event") for event in events] == ["accepted", "started", "log", "completed"]
    assert {(event.task_id, event.attempt) for event in events} <= {("t1", 0), ("t1", 1)}
    assert all(abs(event.time.seconds - task.create_time.seconds) < 60 for event in events)
    await client.submit("t2")
    await (await node.arrival("t2")).complete()
    assert (await client.ended("t2")).state == task_pb2.TASK_STATE_COMPLETED
    assert here.attached == 0, "the stream never broke"


@pytest.mark.trial("10.17")
async def test_a_refusal_with_a_book_in_it_is_cut(harness: Harness) -> None:
    """The text of a status reaches the task's record within the limit of an error's message."""
    node = await harness.node()
    node.refusal = errors.InvalidArgument("x" * 1_000_000)
    client = await harness.scheduler()
    await client.submit("t1")
    task = await client.ended("t1")
    assert task.error.code == "INVALID_ARGUMENT" and len(task.error.message.encode()) <= 2000
