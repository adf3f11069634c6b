"""How the stack sees that a part serves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Set

import aiohttp
import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from runtime.addresses import split_host_port
from stack.part import PartFailed, Probe
from yivideo.task.v1 import task_pb2, task_pb2_grpc

_PROBE_SECONDS = 2.0


def rpc_probe(address: str) -> Probe:
    """Ask a gRPC server's health service."""

    async def serving() -> bool:
        async with grpc.aio.insecure_channel(address) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            try:
                answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=_PROBE_SECONDS)
            except grpc.aio.AioRpcError:
                return False
            return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    return serving


def node_probe(part: str, address: str, token: str, node: str) -> Probe:
    """Ask a node's replica for its condition, and whether it is the node that the table says.

    Raises PartFailed when it is another one: no scheduler would ever give it work.
    """

    async def serving() -> bool:
        async with grpc.aio.insecure_channel(address) as channel:
            stub = task_pb2_grpc.TaskServiceStub(channel)
            metadata = (("authorization", f"Bearer {token}"),)
            call = stub.WatchNode(task_pb2.WatchNodeRequest(), metadata=metadata, timeout=_PROBE_SECONDS)
            try:
                status = await call.read()
            except grpc.aio.AioRpcError:
                return False
            finally:
                call.cancel()
        if not isinstance(status, task_pb2.NodeStatus):
            return False
        if status.node != node:
            raise PartFailed(
                f"{part}: its module declares Node({status.node!r}), its row of the node table says {node!r}: "
                f'name one as the other, or say node = "{status.node}" in the row'
            )
        return True

    return serving


def scheduler_probe(address: str, token: str, nodes: Callable[[], Set[str]]) -> Probe:
    """Ask a scheduler whether it knows the tasks of every node: before that it would refuse them as unknown.

    `nodes` gives the names that tasks must begin with; it is asked each time, since a node may turn out not to start.
    """

    async def serving() -> bool:
        async with grpc.aio.insecure_channel(address) as channel:
            stub = task_pb2_grpc.TaskServiceStub(channel)
            metadata = (("authorization", f"Bearer {token}"),)
            request = task_pb2.ListTaskTypesRequest()
            try:
                answer = await stub.ListTaskTypes(request, metadata=metadata, timeout=_PROBE_SECONDS)
            except grpc.aio.AioRpcError:
                return False
            return {kind.node for kind in answer.task_types} >= nodes()

    return serving


def http_probe(url: str) -> Probe:
    """Ask for a URL that answers 200 when the part serves."""

    async def serving() -> bool:
        timeout = aiohttp.ClientTimeout(total=_PROBE_SECONDS)
        try:
            async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as response:
                return response.status == 200
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False

    return serving


def redis_probe(address: str, password: str) -> Probe:
    """Ask Redis for a PONG (while it loads its log it answers an error instead)."""
    host, port = split_host_port(address)

    async def serving() -> bool:
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                reader, writer = await asyncio.open_connection(host, port)
                writer.write(f"AUTH {password}\r\nPING\r\n".encode())
                answers = [await reader.readline(), await reader.readline()]
                writer.close()
        except (OSError, TimeoutError):
            return False
        return answers == [b"+OK\r\n", b"+PONG\r\n"]

    return serving
