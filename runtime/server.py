"""The one gRPC server factory: health, reflection, interception, keepalive, TLS, message limits and drain."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import grpc
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from runtime.addresses import is_local, join_host_port, split_host_port
from runtime.health import HealthServicer
from runtime.interception import CallInterceptor, refuse_coroutine_stream
from runtime.logs import get_logger
from runtime.settings import RuntimeSection, SettingsError, TlsSection, read_pem

log = get_logger(__name__)


def server_options(settings: RuntimeSection) -> list[tuple[str, int]]:
    """Return the gRPC arguments of a server.

    Clients ping every 20 s (runtime.channel); gRPC's default would answer a ping more often than every 300 s with GOAWAY.
    The ping timeout closes a connection whose peer is frozen: keepalive alone does not notice a stopped process.
    """
    return [
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", settings.max_message_bytes),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        # A node must notice soon that its scheduler was cut off: until then its orphan timer does not run.
        ("grpc.keepalive_time_ms", 5_000),
        ("grpc.keepalive_timeout_ms", 4_000),
        ("grpc.http2.ping_timeout_ms", 4_000),
        ("grpc.so_reuseport", 0),
    ]


_HEALTH_SERVICE = "grpc.health.v1.Health"
_HEALTH_SECONDS = 1.0


class _Registrar:
    """Looks at the handlers that a generated `add_…_to_server` hands over, and passes them on."""

    def __init__(self, server: grpc.aio.Server) -> None:
        self._server = server

    def add_generic_rpc_handlers(self, handlers: Sequence[Any]) -> None:
        self._server.add_generic_rpc_handlers(handlers)

    def add_registered_method_handlers(self, service: str, methods: Mapping[str, Any]) -> None:
        for method, handler in methods.items():
            refuse_coroutine_stream(f"/{service}/{method}", handler)
        # The stubs of grpcio's types do not know this method yet.
        cast(Any, self._server).add_registered_method_handlers(service, methods)


class RpcServer:
    """One process's gRPC server. Add servicers, then `async with server.running() as address`."""

    def __init__(self, settings: RuntimeSection) -> None:
        self._settings = settings
        token = settings.token.get_secret_value() if settings.token else None
        if not is_local(settings.listen) and not (token or settings.tls.mutual):
            raise SettingsError(
                f"settings: runtime.listen is {settings.listen}, which others can reach: "
                "set runtime.token, or runtime.tls with client certificates"
            )
        self._interceptor = CallInterceptor(token)
        self._server = grpc.aio.server(interceptors=[self._interceptor], options=server_options(settings))
        self._health = HealthServicer()
        self._probed: grpc.aio.Server | None = None
        self._services: list[str] = []
        self.draining = asyncio.Event()
        """Set when the drain begins; streaming handlers end themselves on it, with a cursor to resume from."""

    def add(
        self,
        adder: Callable[[Any, grpc.aio.Server], None],
        servicer: object,
        service: str,
        *,
        without_token: bool = False,
    ) -> None:
        """Register a servicer: its generated `add_…_to_server`, itself, and its full service name.

        `without_token`: its callers need none, for those that cannot show one; certificates are asked for all the same.

        Raises TypeError when one of its streaming handlers is not an async generator.
        """
        adder(servicer, cast(grpc.aio.Server, _Registrar(self._server)))
        self._services.append(service)
        if without_token:
            self._interceptor.open_services.add(service)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Serve for the time of the block; gives the address. Leaving the block drains and stops."""
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = [*self._services, _HEALTH_SERVICE]
        if self._settings.reflection:
            reflection.enable_server_reflection([*names, reflection.SERVICE_NAME], self._server)
        address = self._bind()
        self._bind_probed()
        await self._server.start()
        for name in self._services:
            self._health.set(name, True)
        if self._probed is not None:
            await self._probed.start()
        log.info("listening", address=address)
        try:
            yield address
        finally:
            await self.drain()

    async def set_serving(self, service: str, serving: bool) -> None:
        """Report one service healthy or not, for example while its store cannot be reached."""
        self._health.set(service, serving)

    async def report_health(self, services: Iterable[str], is_healthy: Callable[[], bool]) -> None:
        """Look every second whether what these services rest on is healthy, and report it, until the drain begins."""
        names = tuple(services)
        while not self.draining.is_set():
            for name in names:
                await self.set_serving(name, is_healthy())
            await asyncio.sleep(_HEALTH_SECONDS)

    async def begin_drain(self) -> None:
        """Tell the world to go elsewhere (health NOT_SERVING, `draining` set), and go on serving."""
        if not self.draining.is_set():
            self.draining.set()
            self._health.begin_drain()

    async def drain(self) -> None:
        """Take no new calls, let those under way end within `drain_seconds`, then cancel the rest."""
        await self.begin_drain()
        self._health.end_watches()
        await self._server.stop(self._settings.drain_seconds)
        if self._probed is not None:
            await self._probed.stop(None)

    def _bind_probed(self) -> None:
        """Make the server that answers health alone, in the same loop, to who has no certificate to show."""
        listen = self._settings.health_listen
        if not listen:
            return
        self._probed = grpc.aio.server(
            interceptors=[CallInterceptor(None)], options=server_options(self._settings)
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._probed)
        try:
            self._probed.add_insecure_port(listen)
        except RuntimeError:  # grpc has printed why
            raise SettingsError(
                f"settings: runtime.health_listen: nobody can listen on {listen}; is it taken?"
            ) from None

    def _bind(self) -> str:
        listen = self._settings.listen
        credentials = _server_credentials(self._settings.tls)
        add = self._server.add_insecure_port
        try:
            port = add(listen) if credentials is None else self._server.add_secure_port(listen, credentials)
        except RuntimeError:  # grpc has printed why
            raise SettingsError(
                f"settings: runtime.listen: nobody can listen on {listen}; is it taken?"
            ) from None
        if listen.startswith("unix:"):
            return listen
        return join_host_port(split_host_port(listen)[0], port)


def _server_credentials(tls: TlsSection) -> grpc.ServerCredentials | None:
    if tls.certificate is None or tls.private_key is None:
        return None
    return grpc.ssl_server_credentials(
        [(read_pem(tls.private_key), read_pem(tls.certificate))],
        root_certificates=read_pem(tls.authority) if tls.authority else None,
        require_client_auth=tls.mutual,
    )
