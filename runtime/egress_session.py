"""The client sessions of `runtime.egress`: one that dials only what a policy allows, one for hosts that it names."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from runtime.egress_policy import AddressBlocked, EgressPolicy
from runtime.resolver import SystemResolver


class _GuardedResolver(AbstractResolver):
    """Leaves out the answers that may not be dialled."""

    def __init__(self, policy: EgressPolicy, inner: AbstractResolver) -> None:
        self._policy = policy
        self._inner = inner

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        answers = await self._inner.resolve(host, port, family)
        good = [answer for answer in answers if self._policy.allows_address(_address(answer["host"]), port)]
        if answers and not good:
            raise AddressBlocked(f"{host} has no public address")
        return good

    async def close(self) -> None:
        await self._inner.close()


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.ip_address(text.partition("%")[0])


def guarded_session(
    policy: EgressPolicy,
    *,
    resolver: AbstractResolver | None = None,
    connections: int = 64,
    connections_per_host: int = 8,
    **options: Any,
) -> aiohttp.ClientSession:
    """Open a session that dials only what the policy allows.

    It reads no proxy settings (a proxy would hide the address) and keeps no cookies (two users may call the same host).
    `resolver` takes the place of the system's.
    """
    connector = aiohttp.TCPConnector(
        socket_factory=policy.socket_for,
        resolver=_GuardedResolver(policy, resolver or SystemResolver()),
        use_dns_cache=False,
        limit=connections,
        limit_per_host=connections_per_host,
    )
    return _make_session(connector, options)


def open_session(
    *, resolver: AbstractResolver | None = None, connections: int = 64, connections_per_host: int = 8
) -> aiohttp.ClientSession:
    """Open a session that dials whatever a name resolves to; for host names that an operator has allowed."""
    connector = aiohttp.TCPConnector(
        resolver=resolver or SystemResolver(),
        use_dns_cache=False,
        limit=connections,
        limit_per_host=connections_per_host,
    )
    return _make_session(connector, {})


def _make_session(connector: aiohttp.TCPConnector, options: Mapping[str, Any]) -> aiohttp.ClientSession:
    chosen = {
        "trust_env": False,
        "cookie_jar": aiohttp.DummyCookieJar(),
        # Bytes are wanted as they are stored: a packed answer could unpack to any size.
        "auto_decompress": False,
        "headers": {"Accept-Encoding": "identity"},
        **options,
    }
    return aiohttp.ClientSession(connector=connector, **chosen)
