"""Addresses: `host:port` and `unix:/path`, and which of them only this machine can reach."""

from __future__ import annotations

import ipaddress

from runtime.errors import InvalidArgument


def split_host_port(address: str) -> tuple[str, int]:
    """Split `host:port` or `[v6]:port`. Raises InvalidArgument when it is neither."""
    host, _, port = address.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:  # an address without brackets: where it ends cannot be known
        host = ""
    if not host or not (port.isascii() and port.isdecimal()) or int(port) > 65535:
        raise InvalidArgument(f"{address!r} is not host:port")
    return host, int(port)


def join_host_port(host: str, port: int) -> str:
    """Write `host:port`, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_local(address: str) -> bool:
    """Whether a listening address can be reached from this machine only (loopback or a unix socket)."""
    if address.startswith("unix:"):
        return True
    host, _ = split_host_port(address)
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
