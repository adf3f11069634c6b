"""Laws of an attempt's life on a stream: how it begins, is numbered, ends, is found again, and is told from others of its task."""

from __future__ import annotations

import time
from typing import Any

from google.protobuf import struct_pb2

from nodekit.conformance.followed_stream import TERMINAL, FollowedStream, Watch
from nodekit.conformance.law import NotJudged, law, require
from nodekit.conformance.node_caller import NodeCaller
from runtime.structs import MAX_DEPTH, from_struct, to_struct
from yivideo.task.v1 import task_pb2

_MAX_OUTPUT_BYTES = 1024 * 1024


def _example(caller: NodeCaller) -> None:
    if not caller.example.task_name:
        raise NotJudged("needs a task that the node can run (--task, --input)")


async def _completed(caller: NodeCaller, stream: FollowedStream, request: task_pb2.RunTaskRequest) -> Watch:
    """Run the example to its end."""
    (watch,) = await stream.follow(request)
    code = await watch.over(caller.example.run_seconds)
    require(code == "OK", f"the watch of the example ended with {code}")
    kind = watch.last.WhichOneof("event")
    require(kind == "completed", f"the example ended as {kind}: {watch.last.failed.error.message[:300]}")
    return watch


async def _refused(
    caller: NodeCaller, stream: FollowedStream, request: task_pb2.RunTaskRequest, expected: str, why: str
) -> None:
    (watch,) = await stream.follow(request)
    code = await watch.over(caller.patience_seconds)
    require(code == expected, f"{why} ended the watch with {code}, not {expected}")
    require(stream.status is None, f"{why} ended the whole stream with {stream.status}")


@law("life")
async def life(caller: NodeCaller) -> None:
    """An attempt's events carry its task and number and count from 1; `started` is first, one terminal event last, then OK."""
    _example(caller)
    async with caller.stream() as stream:
        watch = await _completed(caller, stream, caller.request())
        sequences = [event.sequence for event in watch.stored]
        require(sequences == [*range(1, len(sequences) + 1)], f"the events are numbered {sequences[:20]}")
        require(watch.kinds[0] == "started", f"the first event is {watch.kinds[0]}")
        ends = [kind for kind in watch.kinds if kind in TERMINAL]
        require(len(ends) == 1 and watch.kinds[-1] == ends[0], f"the events are {watch.kinds}")
        asked = watch.request
        for event in watch.events:
            mine = event.task_id == asked.spec.task_id and event.attempt == asked.attempt
            require(mine, f"an event says task {event.task_id!r}, attempt {event.attempt}")
        faults = [*watch.faults, *stream.faults]
        require(not faults, f"it sent {'; '.join(faults[:3])}")


@law("result")
async def result(caller: NodeCaller) -> None:
    """A result keeps the limits: 1 MiB, 28 levels, finite numbers, a duration, files under the task's own prefix."""
    _example(caller)
    async with caller.stream() as stream:
        watch = await _completed(caller, stream, caller.request())
        done = watch.last.completed
        require(done.output.ByteSize() <= _MAX_OUTPUT_BYTES, f"the output has {done.output.ByteSize()} bytes")
        _check_values(done.output)
        require(0 <= done.duration_seconds < 1e9, f"duration_seconds is {done.duration_seconds}")
        prefix = f"{watch.request.spec.task_id}/"
        for file in done.files:
            require(file.path.startswith(prefix), f"the file {file.path!r} does not lie under {prefix}")
            require(file.size_bytes >= 0, f"the file {file.path!r} has {file.size_bytes} bytes")


def _check_values(output: struct_pb2.Struct) -> None:
    try:
        to_struct(from_struct(output))
    except Exception as error:
        require(False, f"the output cannot be kept (finite numbers, {MAX_DEPTH} levels): {error}")


@law("attach")
async def attach(caller: NodeCaller) -> None:
    """An ended attempt is found again by its fence, on another stream: the same events, the same end, nothing run again."""
    _example(caller)
    async with caller.stream() as stream:
        first = await _completed(caller, stream, caller.request())
    again = task_pb2.RunTaskRequest()
    again.CopyFrom(first.request)
    again.attach_only = True
    async with caller.stream() as stream:
        (whole,) = await stream.follow(again)
        code = await whole.over(caller.patience_seconds)
        require(code == "OK", f"attaching to an attempt that has just ended gave {code}")
        require(
            whole.stored == first.stored,
            f"its events were {first.kinds}, and are {whole.kinds} at the second look",
        )
        again.after_sequence = first.stored[0].sequence
        (rest,) = await stream.follow(again)
        code = await rest.over(caller.patience_seconds)
        require(
            code == "OK" and rest.stored == first.stored[1:],
            f"after_sequence {again.after_sequence} gave {rest.kinds}",
        )
        again.after_sequence = first.last.sequence
        (nothing,) = await stream.follow(again)
        code = await nothing.over(caller.patience_seconds)
        require(code == "OK" and not nothing.stored, f"after the last event came {nothing.kinds} and {code}")


@law("attach-only")
async def attach_only(caller: NodeCaller) -> None:
    """A request with attach_only starts nothing: NOT_FOUND when the attempt is not here, and the stream goes on."""
    kinds = await caller.task_types()
    name = caller.example.task_name or (kinds[0].name if kinds else "nobody.nothing")
    async with caller.stream() as stream:
        for _ in range(2):
            request = caller.request(task_name=name, attach_only=True)
            await _refused(
                caller, stream, request, "NOT_FOUND", "attach_only for an attempt that is not here"
            )


@law("fence")
async def fence(caller: NodeCaller) -> None:
    """The fence tells attempts apart: the same task and number under a greater fence is not here, and is begun anew."""
    _example(caller)
    async with caller.stream() as stream:
        old = await _completed(caller, stream, caller.request())
        newer = task_pb2.RunTaskRequest()
        newer.CopyFrom(old.request)
        newer.fence = caller.next_fence()
        newer.attach_only = True
        why = "attaching by the same attempt number under a greater fence (the task was deleted and submitted again)"
        await _refused(caller, stream, newer, "NOT_FOUND", why)
        newer.attach_only = False
        anew = await _completed(caller, stream, newer)
        require(anew.stored[0].time != old.stored[0].time, "the new attempt was given the old one's events")
        await _refused(
            caller, stream, old.request, "ABORTED", "the old attempt's request after the new attempt"
        )


@law("unknown-task")
async def unknown_task(caller: NodeCaller) -> None:
    """A start of a task that the node does not have is INVALID_ARGUMENT, and the stream goes on."""
    status = await caller.condition()
    async with caller.stream() as stream:
        request = caller.request(task_name=f"{status.node}.conformance_has_no_such_task", input={})
        await _refused(caller, stream, request, "INVALID_ARGUMENT", "an unknown task name")


@law("bad-input")
async def bad_input(caller: NodeCaller) -> None:
    """A start whose input does not fit the published schema is INVALID_ARGUMENT, and nothing is run."""
    _example(caller)
    bad = _misfit(await caller.input_schema())
    if bad is None:
        raise NotJudged("the schema of the task takes anything")
    async with caller.stream() as stream:
        await _refused(caller, stream, caller.request(input=bad), "INVALID_ARGUMENT", f"the input {bad}")


def _misfit(schema: dict[str, Any]) -> dict[str, Any] | None:
    if schema.get("required"):
        return {}
    if schema.get("additionalProperties") is False:
        return {"conformance has no such field": 1}
    for name, inner in schema.get("properties", {}).items():
        if isinstance(inner, dict) and isinstance(kind := inner.get("type"), str):
            return {name: [] if kind != "array" else {}}
    return None


@law("late-start")
async def late_start(caller: NodeCaller) -> None:
    """A start that comes after its latest_start_time is ABORTED: the attempt may have been given up."""
    _example(caller)
    request = caller.request()
    request.latest_start_time.FromSeconds(int(time.time()) - 60)
    async with caller.stream() as stream:
        await _refused(caller, stream, request, "ABORTED", "a start a minute after its latest_start_time")
        request.attach_only = True
        await _refused(caller, stream, request, "NOT_FOUND", "attaching to the attempt that was not started")


@law("watch-numbers")
async def watch_numbers(caller: NodeCaller) -> None:
    """A watch number that does not grow ends the stream with INVALID_ARGUMENT."""
    async with caller.stream() as stream:
        request = caller.request(task_name=caller.example.task_name or "nobody.nothing", attach_only=True)
        await stream.follow(request, number=5)
        await stream.follow(request, number=5)
        await stream.until(lambda: stream.status is not None, caller.patience_seconds, "end the stream")
        require(stream.status == "INVALID_ARGUMENT", f"the stream ended with {stream.status}")
