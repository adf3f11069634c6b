"""Which addresses a node's replicas have now: configured names resolved to one address each, so that a call meets one replica."""

from __future__ import annotations

import asyncio
import ipaddress
import socket

from runtime.addresses import join_host_port, split_host_port
from runtime.logs import get_logger
from runtime.seldom import Seldom

log = get_logger(__name__)
seldom = Seldom(log)


async def resolve(configured: tuple[str, ...]) -> set[str]:
    """Return the addresses behind the configured ones; a name that does not resolve now is left out."""
    found: set[str] = set()
    for address in configured:
        found |= await _resolve_one(address)
    return found


async def _resolve_one(address: str) -> set[str]:
    if address.startswith("unix:"):
        return {address}
    host, port = split_host_port(address.removeprefix("dns:///"))
    try:
        ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        return {join_host_port(host, port)}
    try:
        answers = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        seldom.warning("a node's name does not resolve", host=host, error=str(error))
        return set()
    families = {answer[0] for answer in answers}
    # A host with both families is one replica with two addresses: IPv4 stands for it.
    family = socket.AF_INET if socket.AF_INET in families else socket.AF_INET6
    return {join_host_port(str(answer[4][0]), port) for answer in answers if answer[0] == family}
