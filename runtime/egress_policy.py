"""Which addresses a client may make us call: the rules of `runtime.egress`, without any I/O."""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass, field
from typing import Any

from yarl import URL

from runtime.errors import AddressRefused, InvalidArgument

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_URL_LENGTH = 2048
STACK_SETTING = "YIVIDEO_STACK__ALLOW_ADDRESSES"
"""What sets the allow-lists of an installation that `make run` starts: its parts do not take their own."""

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
# Python's `is_global` follows IANA's registries as they were when that Python was made, and calls multicast, 6to4 relays and
# site-local addresses global: these ranges are refused whatever it says.
_REFUSED_NETWORKS: tuple[IpNetwork, ...] = tuple(
    ipaddress.ip_network(network)
    for network in (
        "192.0.0.0/24",  # protocol assignments; a cloud's metadata service lives here
        "192.88.99.0/24",  # 6to4 relays
        "168.63.129.16/32",  # a public-looking address that answers inside one large cloud only
        "2001::/23",  # Teredo and other protocol assignments
        "2002::/16",  # 6to4: an IPv4 address in disguise, and nobody needs it any more
        "3fff::/20",  # documentation
    )
)
_BAD_PORTS = frozenset({
    1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109, 110, 111,
    113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530, 531, 532, 540, 548,
    554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665,
    6666, 6667, 6668, 6669, 6679, 6697, 10080,
})  # fmt: skip
"""Ports of services that are not HTTP and may act on a request that is (mail, news, chat): what browsers refuse too, from the
Fetch standard, "port blocking"."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}")
_PRIVATE_NAMES = (".localhost", ".local", ".internal")


def is_public(address: IpAddress) -> bool:
    """Whether an address belongs to the public internet, looking through every way to wrap an IPv4 address in IPv6."""
    address = _unwrapped(address)
    if isinstance(address, ipaddress.IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    if address.is_multicast or not address.is_global:
        return False
    return not any(address in network for network in _REFUSED_NETWORKS if network.version == address.version)


def _unwrapped(address: IpAddress) -> IpAddress:
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


class AddressBlocked(OSError):
    """Raised where a socket would be made; `Egress.request` turns it into AddressRefused."""


@dataclass(frozen=True)
class AllowRule:
    """One entry of the allow-list: a host name or a network, on one port or on all."""

    host: str
    network: IpNetwork | None
    port: int | None

    @classmethod
    def parse(cls, text: str) -> AllowRule:
        """Read `host`, `10.0.0.5`, `10.1.0.0/16`, `fd00::/8`, each also with `:port` (IPv6 then in brackets).

        Raises InvalidArgument when it is none of these: a rule with a slip in it must not be silently without effect.
        """
        target, port = text.strip(), None
        if target.startswith("["):
            target, bracket, rest = target[1:].partition("]")
            if not bracket or (rest and not rest.startswith(":")):
                raise InvalidArgument(f"allow-list: {text!r} has brackets that do not match")
            port = _port(rest[1:], text) if rest else None
        elif target.count(":") == 1:
            target, _, digits = target.partition(":")
            port = _port(digits, text)
        try:
            return cls("", ipaddress.ip_network(target, strict=False), port)
        except ValueError:
            pass
        if not _HOST.fullmatch(target) or _literal(target) is not None:
            raise InvalidArgument(f"allow-list: {text!r} is neither a host name nor an address or network")
        return cls(target.rstrip(".").lower(), None, port)

    def has_host(self, host: str, port: int | None) -> bool:
        """Whether this rule names that host on that port."""
        return bool(self.host) and self.host == host.rstrip(".").lower() and self.port in (None, port)

    def has_address(self, address: IpAddress, port: int) -> bool:
        """Whether this rule's network holds that address on that port."""
        return self.network is not None and address in self.network and self.port in (None, port)


def _port(digits: str, entry: str) -> int:
    if not (digits.isascii() and digits.isdecimal() and 0 < int(digits) <= 65535):
        raise InvalidArgument(f"allow-list: {entry!r} has no valid port")
    return int(digits)


@dataclass(frozen=True)
class EgressPolicy:
    """Which addresses may be called besides public ones.

    `allow` holds IP addresses, networks (`10.1.0.0/16`) or host names, each with or without `:port`
    (`n8n.internal:5678`, `[fd00::/8]:443`); a host name that is allowed may resolve to anything. A malformed entry raises
    InvalidArgument.
    """

    allow: tuple[str, ...] = ()
    schemes: tuple[str, ...] = ("http", "https")
    setting: str = ""
    """Name of the setting that `allow` comes from; a refusal that an entry there would lift says so."""
    _rules: tuple[AllowRule, ...] = field(init=False, repr=False, compare=False, default=())

    def __post_init__(self) -> None:
        object.__setattr__(self, "_rules", tuple(AllowRule.parse(entry) for entry in self.allow))

    def check_url(self, text: str) -> URL:
        """Return the URL. Raises AddressRefused for a bad scheme or port, credentials, a private literal, or too long a text."""
        if len(text) > MAX_URL_LENGTH:
            raise AddressRefused(f"the URL is longer than {MAX_URL_LENGTH} characters")
        if _CONTROL.search(text):
            raise AddressRefused("the URL has control characters")
        try:
            url = URL(text)
            host, port = url.raw_host, url.port
        except ValueError:
            raise AddressRefused("the URL cannot be parsed") from None
        if url.scheme not in self.schemes or not host:
            wanted = " or ".join(f"{scheme}://" for scheme in self.schemes)
            raise AddressRefused(f"the URL must begin with {wanted} and name a host")
        if url.user is not None or url.password is not None:
            raise AddressRefused("the URL must not carry a user name or password")
        if not port:
            raise AddressRefused("the URL names port 0")
        if not self.allows_host(host, port):
            self._check_host(host, port)
        return url

    def _check_host(self, host: str, port: int) -> None:
        """Refuse at once what the connector would refuse later, so that a client learns it when it submits."""
        literal = _literal(host)
        if literal is not None and self._opens(literal, port):
            return
        if port in _BAD_PORTS and not any(rule.port == port for rule in self._rules):
            raise self.refusal(f"port {port} belongs to another service than HTTP")
        if literal is not None:
            if not is_public(literal):
                raise self.refusal(f"{host} is not a public address")
            return
        if not _HOST.fullmatch(host):
            raise AddressRefused("the URL's host is not a name or an address")
        name = "." + host.rstrip(".").lower()
        # Where the operator allows a network, only the resolved address can tell.
        if name.endswith(_PRIVATE_NAMES) and not any(
            rule.network is not None and rule.port in (None, port) for rule in self._rules
        ):
            raise self.refusal(f"{host} is a private name")

    def refusal(self, reason: str) -> AddressRefused:
        """Return the refusal of an address that the operator could allow."""
        allowing = f"{self.setting} can allow it (under `make run`: {STACK_SETTING})"
        return AddressRefused(f"{reason}; {allowing}" if self.setting else reason)

    def allows_host(self, host: str, port: int | None) -> bool:
        """Whether the allow-list has this host name (not: an address)."""
        return any(rule.has_host(host, port) for rule in self._rules)

    def allows_address(self, address: IpAddress, port: int) -> bool:
        """Whether an address may be dialled."""
        return is_public(address) or self._opens(address, port)

    def _opens(self, address: IpAddress, port: int) -> bool:
        """Whether the allow-list has this address."""
        return any(rule.has_address(_unwrapped(address), port) for rule in self._rules)

    def socket_for(self, info: Any) -> socket.socket:
        """Make the socket for one resolved address; the connector's `socket_factory`. Raises AddressBlocked."""
        family, kind, protocol, _, sockaddr = info
        address = ipaddress.ip_address(sockaddr[0].partition("%")[0])
        if not self.allows_address(address, sockaddr[1]):
            raise AddressBlocked(f"{address} is not a public address")
        made = socket.socket(family, kind, protocol)
        made.setblocking(False)
        return made


def _literal(host: str) -> IpAddress | None:
    """Read an address in any spelling that a resolver would accept (`127.1`, `0x7f000001`, `2130706433`, `127.0.0.1.`)."""
    bare = host.partition("%")[0].rstrip(".")
    try:
        return ipaddress.ip_address(bare)
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(bare))
    except (OSError, ValueError):  # ValueError: a NUL inside
        return None
