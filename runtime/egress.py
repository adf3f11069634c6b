"""Calls to addresses that a client named: callbacks and remote inputs. Guards against server-side request forgery.

The check sits where the socket is made, so it sees every address that is really dialled: IP literals, every DNS answer, and
each hop of a redirect. `ipaddress.is_global` alone is not enough: it calls NAT64, 6to4, site-local and multicast addresses global.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from yarl import URL

from runtime.errors import AddressRefused, DeadlineExceeded, InvalidArgument, Unavailable

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_URL_LENGTH = 2048

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_SIX_TO_FOUR = ipaddress.IPv6Network("2002::/16")
_REFUSED_NETWORKS = tuple(
    ipaddress.ip_network(network)
    for network in (
        "192.88.99.0/24",  # 6to4 relays
        "64:ff9b:1::/48",  # local-use NAT64: the embedded address is the operator's choice
        "2001::/32",  # Teredo
        "fec0::/10",  # site-local, deprecated and still routed by some
        "::/96",  # IPv4-compatible, deprecated
    )
)


def is_public(address: IpAddress) -> bool:
    """Whether an address belongs to the public internet, looking through every way to wrap an IPv4 address in IPv6."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address in _NAT64:
            return is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        if address in _SIX_TO_FOUR:
            return False
    if address.is_multicast or not address.is_global:
        return False
    return not any(address in network for network in _REFUSED_NETWORKS if network.version == address.version)


class AddressBlocked(OSError):
    """Raised inside the connector; `request` turns it into AddressRefused."""


@dataclass(frozen=True)
class EgressPolicy:
    """Which addresses may be called besides public ones.

    `allow` holds IP addresses, networks (`10.1.0.0/16`), either with `:port`, or host names with or without `:port`
    (`n8n.internal:5678`); a host name that is allowed may resolve to anything.
    """

    allow: tuple[str, ...] = ()
    schemes: tuple[str, ...] = ("http", "https")

    def check_url(self, text: str) -> URL:
        """Return the URL. Raises AddressRefused for a bad scheme, credentials, a private literal, or too long a text."""
        if len(text) > MAX_URL_LENGTH:
            raise AddressRefused(f"the URL is longer than {MAX_URL_LENGTH} characters")
        try:
            url = URL(text)
            host, port = url.host, url.port
        except ValueError:
            raise AddressRefused("the URL cannot be parsed") from None
        if url.scheme not in self.schemes or not host:
            raise AddressRefused(
                f"the URL must begin with {' or '.join(s + '://' for s in self.schemes)} and name a host"
            )
        if url.user is not None or url.password is not None:
            raise AddressRefused("the URL must not carry a user name or password")
        if self.allows_host(host, port):
            return url
        name = host.rstrip(".").lower()
        if name == "localhost" or name.endswith((".localhost", ".local", ".internal")):
            raise AddressRefused(f"{host} is a private name")
        literal = _literal(host)
        if literal is not None and not self.allows_address(literal, port or 0):
            raise AddressRefused(f"{host} is not a public address")
        return url

    def allows_host(self, host: str, port: int | None) -> bool:
        """Whether the allow-list has this host name (not: an address)."""
        return host.lower() in self.allow or f"{host.lower()}:{port}" in self.allow

    def allows_address(self, address: IpAddress, port: int) -> bool:
        """Whether an address may be dialled."""
        return is_public(address) or any(_matches(entry, address, port) for entry in self.allow)

    def socket_for(self, info: Any) -> socket.socket:
        """Make the socket for one resolved address; the connector's `socket_factory`. Raises AddressBlocked."""
        family, kind, protocol, _, sockaddr = info
        address = ipaddress.ip_address(sockaddr[0].split("%")[0])
        if not self.allows_address(address, sockaddr[1]):
            raise AddressBlocked(f"{address} is not a public address")
        return _nonblocking(socket.socket(family, kind, protocol))


def _nonblocking(made: socket.socket) -> socket.socket:
    made.setblocking(False)
    return made


def _literal(host: str) -> IpAddress | None:
    """Read an address in any spelling that a resolver would accept (`127.1`, `0x7f000001`, `2130706433`)."""
    try:
        return ipaddress.ip_address(host.split("%")[0])
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except OSError:
        return None


def _matches(entry: str, address: IpAddress, port: int) -> bool:
    network, _, wanted_port = (
        entry.rpartition(":") if "]:" in entry or entry.count(":") == 1 else (entry, "", "")
    )
    if wanted_port and wanted_port != str(port):
        return False
    try:
        return address in ipaddress.ip_network((network or entry).strip("[]"), strict=False)
    except ValueError:
        return False


def guarded_session(policy: EgressPolicy, **options: Any) -> aiohttp.ClientSession:
    """Open a session that dials only what the policy allows. It reads no proxy settings: a proxy would hide the address."""
    connector = aiohttp.TCPConnector(
        socket_factory=policy.socket_for, ttl_dns_cache=0, use_dns_cache=False, limit=64, limit_per_host=8
    )
    return aiohttp.ClientSession(connector=connector, trust_env=False, auto_decompress=False, **options)


class Egress:
    """Makes guarded requests; one per process, closed at its end."""

    def __init__(self, policy: EgressPolicy) -> None:
        self.policy = policy
        self._guarded: aiohttp.ClientSession | None = None
        self._open: aiohttp.ClientSession | None = None

    async def aclose(self) -> None:
        """Close the connections."""
        for session in (self._guarded, self._open):
            if session is not None:
                await session.close()

    def _session(self, url: URL) -> aiohttp.ClientSession:
        if self.policy.allows_host(url.host or "", url.port):
            if self._open is None:
                self._open = aiohttp.ClientSession(trust_env=False, auto_decompress=False)
            return self._open
        if self._guarded is None:
            self._guarded = guarded_session(self.policy)
        return self._guarded

    @asynccontextmanager
    async def request(
        self,
        method: str,
        url: str,
        *,
        timeout_seconds: float,
        max_redirects: int = 0,
        headers: Mapping[str, str] | None = None,
        data: Any = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send one request; gives the response with its body unread. `timeout_seconds` bounds all of it.

        Follows at most `max_redirects` redirects of a GET or HEAD, each checked like the first address; with 0 a redirect is
        returned as it is. Raises AddressRefused, DeadlineExceeded, or Unavailable when the peer cannot be reached.
        """
        target = self.policy.check_url(url)
        timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        try:
            for _ in range(max_redirects + 1):
                response = await self._session(target).request(
                    method, target, allow_redirects=False, headers=headers, data=data, timeout=timeout
                )
                if max_redirects == 0 or response.status not in (301, 302, 303, 307, 308):
                    break
                location = response.headers.get("Location", "")
                response.release()
                target = self.policy.check_url(str(target.join(URL(location))))
            else:
                raise InvalidArgument(f"more than {max_redirects} redirects")
            async with response:
                yield response
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise _translated(error, target) from error


def _translated(error: BaseException, url: URL) -> Exception:
    blocked: BaseException | None = error
    while blocked is not None:
        if isinstance(blocked, AddressBlocked):
            return AddressRefused(f"{url.host} resolves to an address that is not public")
        if isinstance(blocked, OSError) and "is not a public address" in str(blocked):
            return AddressRefused(f"{url.host} resolves to an address that is not public")
        blocked = blocked.__cause__ or getattr(blocked, "os_error", None)
    if isinstance(error, aiohttp.InvalidURL):
        return AddressRefused("the URL cannot be called")
    if isinstance(error, TimeoutError):
        return DeadlineExceeded(f"{url.host} did not answer in time")
    return Unavailable(f"{url.host} cannot be reached: {type(error).__name__}")
