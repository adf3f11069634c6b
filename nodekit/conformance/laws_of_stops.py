"""Laws of how an attempt that runs is stopped: by a cancel, its timeout, a newer attempt, or because nobody watches it."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from nodekit.conformance.law import Broken, NotJudged, law, require
from nodekit.conformance.node_caller import NodeCaller
from yivideo.task.v1 import task_pb2

_MOST_SLOTS = 32
_SETTLED_SECONDS = 0.2
"""Changes that follow each other closely may be told together."""


def _long(caller: NodeCaller) -> None:
    if not caller.example.task_name or caller.example.long_input is None:
        raise NotJudged("needs an input with which the task runs for a minute (--task, --long-input)")


def _listed(status: task_pb2.NodeStatus, request: task_pb2.RunTaskRequest) -> task_pb2.RunningAttempt | None:
    for here in status.attempts:
        if here.task_id == request.spec.task_id and here.fence == request.fence:
            return here
    return None


@law("slots")
async def slots(caller: NodeCaller) -> None:
    """A running attempt takes a slot, and WatchNode lists it with its number and fence; ended, it frees the slot."""
    _long(caller)
    request = caller.request(long=True)
    before = await caller.condition()
    async with caller.running(request):
        await asyncio.sleep(_SETTLED_SECONDS)
        during = await caller.condition()
        here = _listed(during, request)
        if here is None:
            raise Broken("WatchNode does not list the attempt by its task_id and fence")
        require(
            here.attempt == request.attempt and not here.ended,
            f"WatchNode lists it as {here!s}".replace("\n", " "),
        )
        require(
            during.free_slots == before.free_slots - 1,
            f"free_slots was {before.free_slots} and is {during.free_slots}",
        )
    await asyncio.sleep(_SETTLED_SECONDS)
    after = await caller.condition()
    require(
        after.free_slots == before.free_slots,
        f"afterwards {after.free_slots} of {before.free_slots} slots are free",
    )


@law("full")
async def full(caller: NodeCaller) -> None:
    """A start for which there is no slot is RESOURCE_EXHAUSTED, whatever else the status says, and the others go on."""
    _long(caller)
    status = await caller.condition()
    if status.free_slots > _MOST_SLOTS:
        raise NotJudged(f"the node has {status.free_slots} free slots, too many to fill")
    requests = [caller.request(long=True) for _ in range(status.free_slots)]
    async with caller.running(*requests) as (stream, watches):
        (refused,) = await stream.follow(caller.request(long=True))
        code = await refused.over(caller.patience_seconds)
        require(code == "RESOURCE_EXHAUSTED", f"one attempt more than slots ended with {code}")
        gone = [watch.end for watch in watches if watch.end is not None]
        require(not gone, f"an attempt that ran was ended with {gone[:1]}")


@law("cancel")
async def cancel(caller: NodeCaller) -> None:
    """CancelTask answers at once, the attempt ends as `cancelled`; to cancel twice, or after the end, is FAILED_PRECONDITION."""
    _long(caller)
    request = caller.request(long=True)
    named = {"task_id": request.spec.task_id, "attempt": request.attempt, "fence": request.fence}
    async with caller.running(request) as (_, (watch,)):
        code = await caller.cancel_status(**named, reason="enough", grace_seconds=1.0)
        require(code == "OK", f"CancelTask gave {code}")
        again = await caller.cancel_status(**named)
        require(again == "FAILED_PRECONDITION", f"a second CancelTask gave {again}")
        code = await watch.over(caller.patience_seconds)
        kind = watch.last.WhichOneof("event")
        require((code, kind) == ("OK", "cancelled"), f"the attempt ended as {kind}, its watch with {code}")
    late = await caller.cancel_status(**named)
    require(late == "FAILED_PRECONDITION", f"CancelTask after the end gave {late}")


@law("cancel-other")
async def cancel_other(caller: NodeCaller) -> None:
    """CancelTask for a task, attempt or fence that is not here is NOT_FOUND, and stops nothing."""
    _long(caller)
    request = caller.request(long=True)
    task_id = request.spec.task_id
    async with caller.running(request) as (_, (watch,)):
        for named, what in (
            ({"task_id": "conformance-nobody"}, "an unknown task"),
            ({"task_id": task_id, "attempt": request.attempt + 1}, "another attempt number"),
            ({"task_id": task_id, "attempt": request.attempt, "fence": request.fence - 1}, "another fence"),
        ):
            code = await caller.cancel_status(**named)
            require(code == "NOT_FOUND", f"CancelTask for {what} gave {code}")
        require(
            watch.end is None and "cancelling" not in watch.kinds,
            "the attempt that is here was stopped by it",
        )


@law("newer")
async def newer(caller: NodeCaller) -> None:
    """A greater fence ends the attempt that runs, whose watchers get ABORTED, and begins in its place."""
    _long(caller)
    older = caller.request(long=True)
    later = caller.request(older.spec.task_id, long=True, attempt=2)
    async with caller.running(older) as (stream, (watch,)):
        (successor,) = await stream.follow(later)
        code = await watch.over(2 * caller.patience_seconds)
        require(code == "ABORTED", f"the older attempt's watch ended with {code}")
        try:
            await successor.begun(2 * caller.patience_seconds)
            require(
                successor.stored[0].attempt == 2,
                f"the newer attempt's events say {successor.stored[0].attempt}",
            )
        finally:
            await caller.cancel_status(task_id=older.spec.task_id, grace_seconds=0)
            await successor.over(caller.patience_seconds)


@law("broken-stream")
async def broken_stream(caller: NodeCaller) -> None:
    """A stream that breaks, or a watch that is left, stops nothing: another stream attaches and hears all from the first event."""
    _long(caller)
    request = caller.request(long=True)
    async with caller.stream() as stream:
        (first,) = await stream.follow(request)
        await first.begun()
        await stream.leave(first)
    again = task_pb2.RunTaskRequest()
    again.CopyFrom(request)
    again.attach_only = True
    async with caller.running(again) as (_, (watch,)):
        require(
            watch.stored[0] == first.stored[0],
            f"the first event was {first.kinds[:1]} and is {watch.kinds[:1]}",
        )
        await asyncio.sleep(_SETTLED_SECONDS)
        require(watch.end is None, f"the attempt was ended: {watch.kinds}, its watch with {watch.end}")


@law("timeout")
async def timeout(caller: NodeCaller) -> None:
    """An attempt that runs for longer than its timeout_seconds is ended as failed, DEADLINE_EXCEEDED."""
    _long(caller)
    async with caller.running(caller.request(long=True, timeout_seconds=1)) as (_, (watch,)):
        code = await watch.over(2 * caller.patience_seconds)
        kind, error = watch.last.WhichOneof("event"), watch.last.failed.error.code
        told = f"it ended as {kind} {error}, its watch with {code}"
        require((code, kind, error) == ("OK", "failed", "DEADLINE_EXCEEDED"), told)


@law("orphan", waits=True)
async def orphan(caller: NodeCaller) -> None:
    """An attempt that nobody watches is ended after the grace time (15 s), not before, and its slot is free again."""
    _long(caller)
    request = caller.request(long=True)
    async with caller.stream() as stream:
        (watch,) = await stream.follow(request)
        await watch.begun()
    await asyncio.sleep(caller.orphan_seconds / 2)
    here = _listed(await caller.condition(), request)
    if here is None or here.ended:
        raise Broken(f"it was ended before the grace time of {caller.orphan_seconds:g} s")
    late = asyncio.timeout(caller.orphan_seconds / 2 + caller.patience_seconds)
    with suppress(TimeoutError):
        async with late:
            while here is not None and not here.ended:
                await asyncio.sleep(min(0.5, caller.orphan_seconds / 10))
                here = _listed(await caller.condition(), request)
    if late.expired():
        await caller.cancel_status(task_id=request.spec.task_id, grace_seconds=0)
        raise Broken(
            f"it still runs {caller.patience_seconds:g} s after the grace time of {caller.orphan_seconds:g} s"
        )
