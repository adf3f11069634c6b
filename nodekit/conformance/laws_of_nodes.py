"""Laws of the node itself: health, condition, task types, token."""

from __future__ import annotations

import asyncio
import re

import grpc

from nodekit.conformance.law import NotJudged, law, require
from nodekit.conformance.node_caller import NodeCaller
from runtime.channel import open_channel
from runtime.schema_guard import SchemaRefused, read_closed_schema
from yivideo.task.v1 import task_pb2, task_pb2_grpc

SERVICE = "yivideo.task.v1.TaskService"
_SLACK = 1.3
_NODE = re.compile(r"[a-z][a-z0-9_]{0,62}")
_METHOD = re.compile(r"[A-Za-z0-9_-]{1,64}")
_REPLICA = re.compile(r"[\x21-\x7e]{1,128}")
_MAX_TYPES = 1000


@law("health")
async def health(caller: NodeCaller) -> None:
    """grpc.health.v1.Health says SERVING for the empty name and for yivideo.task.v1.TaskService."""
    for service in ("", SERVICE):
        told = await caller.health(service)
        require(told == "SERVING", f"Check({service!r}) gave {told}, not SERVING")


@law("condition")
async def condition(caller: NodeCaller) -> None:
    """WatchNode tells at once who the node is, its replica's id, its slots and how many are free."""
    status = await caller.condition()
    require(_NODE.fullmatch(status.node), f"node is {status.node!r}, not a-z and up to 62 of a-z 0-9 _")
    require(
        _REPLICA.fullmatch(status.replica),
        f"replica is {status.replica!r}, not 1 to 128 printable ASCII characters",
    )
    fits = 0 <= status.free_slots <= status.slots <= 10_000
    require(
        fits,
        f"{status.free_slots} of {status.slots} slots are free; 0 to 10000, and no more free than in all",
    )
    require(status.task_types_etag, "task_types_etag is empty; it must change when the task types do")


@law("condition-again", waits=True)
async def condition_again(caller: NodeCaller) -> None:
    """WatchNode repeats itself at least every 5 s, although nothing changes."""
    seconds = caller.beat_seconds * _SLACK
    call = caller.stub.WatchNode(task_pb2.WatchNodeRequest())
    try:
        for _ in range(2):
            async with asyncio.timeout(seconds):
                require(await call.read() is not grpc.aio.EOF, "it ended the stream")
    except TimeoutError:
        require(False, f"nothing came for {seconds:g} s")
    finally:
        call.cancel()


@law("task-types")
async def task_types(caller: NodeCaller) -> None:
    """ListTaskTypes gives the node's own types, at least one, each with a closed schema that a scheduler can check inputs by."""
    status = await caller.condition()
    kinds = await caller.task_types()
    require(kinds, "it publishes no task type")
    require(len(kinds) <= _MAX_TYPES, f"it publishes {len(kinds)} task types, more than {_MAX_TYPES}")
    for kind in kinds:
        owner, _, method = kind.name.partition(".")
        owned = owner == status.node == kind.node and _METHOD.fullmatch(method)
        require(owned, f"{kind.name!r} of node {kind.node!r} is not {status.node}.<method>")
        require(
            0 <= kind.timeout_seconds <= 604_800, f"{kind.name}: timeout_seconds is {kind.timeout_seconds}"
        )
        for which, schema in (("input", kind.input_schema), ("output", kind.output_schema)):
            try:
                read_closed_schema(schema)
            except SchemaRefused as refused:
                require(False, f"{kind.name}: its {which}_schema is refused: {refused}")
    if caller.example.task_name:
        names = [kind.name for kind in kinds]
        require(caller.example.task_name in names, f"{caller.example.task_name!r} is not among {names}")


@law("token")
async def token(caller: NodeCaller) -> None:
    """Where there is a token, a call without `authorization: Bearer <token>` is UNAUTHENTICATED."""
    if caller.runtime.token is None:
        raise NotJudged("no token is set (YIVIDEO_RUNTIME__TOKEN)")
    bare = caller.runtime.model_copy(update={"token": None})
    async with open_channel(caller.address, bare) as channel:
        stub: task_pb2_grpc.TaskServiceAsyncStub = task_pb2_grpc.TaskServiceStub(channel)
        code = "OK"
        try:
            await stub.ListTaskTypes(task_pb2.ListTaskTypesRequest(), timeout=caller.patience_seconds)
        except grpc.aio.AioRpcError as error:
            code = error.code().name
    require(code == "UNAUTHENTICATED", f"a call without the token gave {code}")


@law("heartbeat", waits=True)
async def heartbeat(caller: NodeCaller) -> None:
    """A FollowAttempts stream carries an empty message at least every 5 s, also when nothing is followed on it."""
    async with caller.stream() as stream:
        await stream.follow()
        for _ in range(2):
            before = stream.heartbeats

            def heard(before: int = before) -> bool:
                return stream.heartbeats > before or stream.status is not None

            await stream.until(heard, caller.beat_seconds * _SLACK, "send an empty FollowAttemptsResponse")
            require(stream.status is None, f"it ended the stream with {stream.status}")
