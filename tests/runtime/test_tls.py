"""TLS and mutual TLS between our own server and channel."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from pydantic import SecretStr

from runtime.channel import open_channel
from runtime.errors import Unavailable
from runtime.health import LIVE
from runtime.rpc_errors import rpc_errors
from runtime.server import RpcServer
from runtime.settings import RuntimeSection, SettingsError, TlsSection
from tests.runtime.certificates import Authority, make_authority
from yivideo.task.v1 import task_pb2, task_pb2_grpc


class Servicer(task_pb2_grpc.TaskServiceServicer):
    async def GetTask(self, request: task_pb2.GetTaskRequest, context: Any) -> task_pb2.Task:
        return task_pb2.Task(attempt=7)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("tls"), "ours")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("tls"), "theirs")


@pytest.fixture(scope="module")
def server_tls(authority: Authority) -> TlsSection:
    certificate, key = authority.sign("scheduler.test")
    return TlsSection(certificate=certificate, private_key=key, authority=authority.certificate)


@asynccontextmanager
async def served(tls: TlsSection, **options: Any) -> AsyncIterator[str]:
    server = RpcServer(RuntimeSection(drain_seconds=0, tls=tls, **options))
    server.add(task_pb2_grpc.add_TaskServiceServicer_to_server, Servicer(), "yivideo.task.v1.TaskService")
    async with server.running() as address:
        yield address


async def attempt_of(address: str, tls: TlsSection) -> int:
    settings = RuntimeSection(tls=tls, call_timeout_seconds=10)
    async with open_channel(address, settings) as channel, rpc_errors():
        task = await task_pb2_grpc.TaskServiceStub(channel).GetTask(
            task_pb2.GetTaskRequest(), wait_for_ready=False
        )
        return int(task.attempt)


async def test_peers_of_one_authority_understand_each_other(
    server_tls: TlsSection, authority: Authority
) -> None:
    """Mutual TLS with certificates of the same authority passes, by address and by name."""
    certificate, key = authority.sign("gateway.test")
    client = TlsSection(certificate=certificate, private_key=key, authority=authority.certificate)
    async with served(server_tls) as address:
        assert await attempt_of(address, client) == 7
        named = client.model_copy(update={"server_name": "scheduler.test"})
        assert await attempt_of(address, named) == 7
        wrong = client.model_copy(update={"server_name": "filestore.test"})
        with pytest.raises(Unavailable):
            await attempt_of(address, wrong)


async def test_a_client_without_a_certificate_is_refused(
    server_tls: TlsSection, authority: Authority
) -> None:
    """Knowing the authority is not enough: the server asks for a certificate."""
    async with served(server_tls) as address:
        with pytest.raises(Unavailable):
            await attempt_of(address, TlsSection(authority=authority.certificate))


async def test_a_client_of_another_authority_is_refused(
    server_tls: TlsSection, authority: Authority, stranger: Authority
) -> None:
    """A certificate that somebody else signed opens nothing."""
    certificate, key = stranger.sign("gateway.test")
    client = TlsSection(certificate=certificate, private_key=key, authority=authority.certificate)
    async with served(server_tls) as address:
        with pytest.raises(Unavailable):
            await attempt_of(address, client)


async def test_a_server_of_another_authority_is_not_spoken_to(
    server_tls: TlsSection, authority: Authority, stranger: Authority
) -> None:
    """The client checks the server as the server checks the client."""
    certificate, key = authority.sign("gateway.test")
    client = TlsSection(certificate=certificate, private_key=key, authority=stranger.certificate)
    async with served(server_tls) as address:
        with pytest.raises(Unavailable):
            await attempt_of(address, client)


async def test_plain_text_does_not_pass_a_tls_server(server_tls: TlsSection) -> None:
    """A client without TLS cannot call."""
    async with served(server_tls) as address:
        with pytest.raises(Unavailable):
            await attempt_of(address, TlsSection())


async def test_client_certificates_can_be_left_out(server_tls: TlsSection, authority: Authority) -> None:
    """With `require_client_certificate` off, knowing the authority is enough."""
    relaxed = server_tls.model_copy(update={"require_client_certificate": False})
    async with served(relaxed) as address:
        assert await attempt_of(address, TlsSection(authority=authority.certificate)) == 7


def test_only_mutual_tls_or_a_token_opens_a_reachable_address(server_tls: TlsSection) -> None:
    """TLS that asks nobody who they are, or that is the client side only, does not let a server face the network."""
    relaxed = server_tls.model_copy(update={"require_client_certificate": False})
    client_only = TlsSection(authority=server_tls.authority)
    for tls in (relaxed, client_only):
        with pytest.raises(SettingsError, match=r"runtime\.token"):
            RpcServer(RuntimeSection(listen="0.0.0.0:0", tls=tls))


async def test_mutual_tls_or_a_token_is_enough_for_a_reachable_address(server_tls: TlsSection) -> None:
    """Either of the two lets a server be made for every interface."""
    RpcServer(RuntimeSection(listen="0.0.0.0:0", tls=server_tls))
    relaxed = server_tls.model_copy(update={"require_client_certificate": False})
    RpcServer(RuntimeSection(listen="0.0.0.0:0", tls=relaxed, token=SecretStr("s3cret")))


async def test_a_certificate_that_is_not_there_is_named(server_tls: TlsSection, tmp_path: Path) -> None:
    """A wrong path ends the process with the path, not with a traceback."""
    tls = server_tls.model_copy(update={"certificate": tmp_path / "missing.pem"})
    with pytest.raises(SettingsError, match=r"missing\.pem"):
        async with served(tls):
            pass
    with pytest.raises(SettingsError, match=r"missing\.pem"):
        open_channel("127.0.0.1:1", RuntimeSection(tls=tls))


async def test_a_probe_without_a_certificate_hears_health_and_nothing_else(server_tls: TlsSection) -> None:
    """Under mutual TLS `health_listen` answers plain probes: alive, ready, and no service of the process."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        probed = f"127.0.0.1:{taken.getsockname()[1]}"
    server = RpcServer(RuntimeSection(drain_seconds=0, tls=server_tls, health_listen=probed))
    server.add(task_pb2_grpc.add_TaskServiceServicer_to_server, Servicer(), "yivideo.task.v1.TaskService")
    async with server.running(), grpc.aio.insecure_channel(probed) as channel:
        health = health_pb2_grpc.HealthStub(channel)

        async def told(service: str) -> int:
            return int((await health.Check(health_pb2.HealthCheckRequest(service=service), timeout=5)).status)

        assert [await told(""), await told(LIVE)] == [health_pb2.HealthCheckResponse.SERVING] * 2
        await server.begin_drain()
        assert await told("") == health_pb2.HealthCheckResponse.NOT_SERVING
        assert await told(LIVE) == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await task_pb2_grpc.TaskServiceStub(channel).GetTask(task_pb2.GetTaskRequest(), timeout=5)
        assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED


async def test_a_taken_port_for_probes_is_named(server_tls: TlsSection) -> None:
    """Who cannot answer probes does not start: an orchestrator would kill it later, and nobody would know why."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        server = RpcServer(
            RuntimeSection(tls=server_tls, health_listen=f"127.0.0.1:{taken.getsockname()[1]}")
        )
        with pytest.raises(SettingsError, match="health_listen"):
            async with server.running():
                pass
