"""Whether anybody listens at a node's address: what tells a process that is gone from one that is merely silent.

A kernel refuses a connection to a port that nobody listens at. So a node whose address refuses has ended (it stops listening only
after its last attempt), and its reaper has ended what it had started. A frozen node, a lost packet, a dead machine refuse nothing:
they are silent, and silence proves nothing yet. Safety argument: docs/adr/0012.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

from runtime.addresses import split_host_port
from runtime.errors import InvalidArgument

Refuses = Callable[[], Awaitable[bool]]
"""Answers whether connections are refused now."""

_CONNECT_SECONDS = 1.0


async def refuses(address: str) -> bool:
    """Try to connect to `host:port` or `unix:/path`; True only when nobody listens there. Raises nothing."""
    try:
        family, where = _target(address)
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)
            async with asyncio.timeout(_CONNECT_SECONDS):
                await asyncio.get_running_loop().sock_connect(probe, where)
    except ConnectionRefusedError:
        return True
    except (OSError, InvalidArgument, TimeoutError):
        return False
    return False


def _target(address: str) -> tuple[socket.AddressFamily, str | tuple[str, int]]:
    if address.startswith("unix:"):
        return socket.AF_UNIX, address.removeprefix("unix:")
    host, port = split_host_port(address)
    return (socket.AF_INET6 if ":" in host else socket.AF_INET), (host, port)
