"""Channels: how one process calls another. Every call carries the ids and the token, and every unary call a deadline.

The channel wraps each callable instead of using client interceptors: that costs one function call, keeps the plain call objects
(with their cancel and code), and cannot be forgotten by a caller.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import grpc

from runtime import context as ids
from runtime.settings import RuntimeSection, TlsSection, read_pem

_RECEIVED = "grpc.max_receive_message_length"

Metadata = Sequence[tuple[str, str | bytes]]

RETRIED_METHODS = (
    ("yivideo.task.v1.TaskService", ("GetTask", "ListTasks", "ListTaskTypes", "ListQueues", "ListDeliveries", "ListDeadLetters")),
    ("yivideo.file.v1.FileService", ("StatFile", "LocateFile", "ListFiles", "PresignFile", "VerifyPresigned", "GetStorage")),
    (
        "yivideo.gpulock.v1.LockMonitor",
        ("GetStatus", "GetStatistics", "ListHistory", "GetHealth", "GetConfiguration", "GetWatcher"),
    ),
)  # fmt: skip
"""Reads only: gRPC itself repeats them on UNAVAILABLE. Writes are repeated by who knows that they are idempotent."""


def service_config() -> str:
    """Return the service config that every channel carries (retries of reads, health-blind round robin)."""
    names = [
        {"service": service, "method": method} for service, methods in RETRIED_METHODS for method in methods
    ]
    policy = {
        "maxAttempts": 4,
        "initialBackoff": "0.05s",
        "maxBackoff": "1s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    return json.dumps(
        {
            "loadBalancingConfig": [{"round_robin": {}}],
            "methodConfig": [{"name": names, "retryPolicy": policy}],
            "retryThrottling": {"maxTokens": 20, "tokenRatio": 0.5},
        }
    )


def channel_options(settings: RuntimeSection) -> list[tuple[str, Any]]:
    """Return the gRPC arguments of a channel."""
    options: list[tuple[str, Any]] = [
        ("grpc.service_config", service_config()),
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", settings.max_message_bytes),
        ("grpc.keepalive_time_ms", 20_000),
        ("grpc.keepalive_timeout_ms", 5_000),
        ("grpc.http2.ping_timeout_ms", 5_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        # A restarted peer should be found within a second, not after gRPC's default back-off of up to two minutes.
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.min_reconnect_backoff_ms", 3_000),  # the time that one attempt to connect may take
        ("grpc.max_reconnect_backoff_ms", 1_000),
        ("grpc.enable_http_proxy", 0),
        # Else a new channel shares the back-off of one that failed to reach the same address before.
        ("grpc.use_local_subchannel_pool", 1),
    ]
    if settings.tls.server_name:
        options.append(("grpc.ssl_target_name_override", settings.tls.server_name))
    return options


def open_channel(address: str, settings: RuntimeSection, *, max_received_bytes: int = 0) -> grpc.aio.Channel:
    """Open a channel to `host:port`, `unix:/path` or a gRPC target (`dns:///name:port`). Close it when done.

    `max_received_bytes` bounds a message in place of `max_message_bytes`, for who can tell better than gRPC what to do about one
    that is too large: gRPC ends the whole call.
    """
    credentials = _channel_credentials(settings.tls)
    options = channel_options(settings)
    if max_received_bytes:
        options = [option for option in options if option[0] != _RECEIVED]
        options.append((_RECEIVED, max_received_bytes))
    if credentials is None:
        inner = grpc.aio.insecure_channel(address, options=options)
    else:
        inner = grpc.aio.secure_channel(address, credentials, options=options)
    token = settings.token.get_secret_value() if settings.token else None
    return _CallingChannel(inner, token, settings.call_timeout_seconds)


def _channel_credentials(tls: TlsSection) -> grpc.ChannelCredentials | None:
    if not tls.enabled:
        return None
    return grpc.ssl_channel_credentials(
        root_certificates=read_pem(tls.authority) if tls.authority else None,
        private_key=read_pem(tls.private_key) if tls.private_key else None,
        certificate_chain=read_pem(tls.certificate) if tls.certificate else None,
    )


class _CallingChannel(grpc.aio.Channel):
    """A channel whose calls carry our metadata, and whose unary calls have a deadline by default."""

    def __init__(self, inner: grpc.aio.Channel, token: str | None, timeout_seconds: float) -> None:
        self._inner = inner
        self._token = ("authorization", f"Bearer {token}") if token else None
        self._timeout_seconds = timeout_seconds

    def _metadata(self, given: Metadata | None) -> list[tuple[str, str | bytes]]:
        metadata: list[tuple[str, str | bytes]] = list(given or ())
        if self._token:
            metadata.append(self._token)
        if request := ids.request_id.get():
            metadata.append((ids.REQUEST_ID_KEY, request))
        if trace := ids.traceparent.get():
            metadata.append((ids.TRACEPARENT_KEY, trace))
            if state := ids.tracestate.get():
                metadata.append((ids.TRACESTATE_KEY, state))
        return metadata

    def _with_metadata(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def start(*args: Any, metadata: Metadata | None = None, **kwargs: Any) -> Any:
            return call(*args, metadata=self._metadata(metadata), **kwargs)

        return start

    def _with_deadline(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def start(
            *args: Any, metadata: Metadata | None = None, timeout: float | None = None, **kwargs: Any
        ) -> Any:
            seconds = self._timeout_seconds if timeout is None else timeout
            return call(*args, metadata=self._metadata(metadata), timeout=seconds, **kwargs)

        return start

    def unary_unary(self, *args: Any, **kwargs: Any) -> Any:
        return self._with_deadline(self._inner.unary_unary(*args, **kwargs))

    def unary_stream(self, *args: Any, **kwargs: Any) -> Any:
        return self._with_metadata(self._inner.unary_stream(*args, **kwargs))

    def stream_unary(self, *args: Any, **kwargs: Any) -> Any:
        return self._with_metadata(self._inner.stream_unary(*args, **kwargs))

    def stream_stream(self, *args: Any, **kwargs: Any) -> Any:
        return self._with_metadata(self._inner.stream_stream(*args, **kwargs))

    async def __aenter__(self) -> _CallingChannel:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self, grace: float | None = None) -> None:
        await self._inner.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self._inner.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self._inner.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self._inner.channel_ready()
