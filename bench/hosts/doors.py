"""Tries doors that must be shut, and, so that a shut one means something, the open ones beside them."""

from __future__ import annotations

import asyncio
import sys

from bench.hosts.installation import HostsInstallation
from bench.hosts.network import HOSTS, within
from bench.servers import ROOT


async def holes(installation: HostsInstallation) -> list[str]:
    """Return what of network policy and mutual TLS does not hold."""
    redis = installation.redis.servers[0]
    tries = [
        ("node-a", HOSTS["scheduler"], 7000, False),
        ("node-a", HOSTS["node-b"], 7100, False),
        ("node-a", redis.host, redis.port, False),
        ("gateway", redis.host, redis.port, False),
        ("gateway", HOSTS["node-a"], 7100, False),
        ("clients", HOSTS["scheduler"], 7000, False),
        ("clients", HOSTS["filestore"], 7200, False),
        ("gateway", HOSTS["scheduler"], 7000, True),
        ("node-a", HOSTS["filestore"], 7200, True),
        ("scheduler", redis.host, redis.port, True),
    ]
    answers = await asyncio.gather(*(_knock(source, "tcp", to, port) for source, to, port, _ in tries))
    found = [
        f"{source} → {to}:{port} is {answer}"
        for (source, to, port, wanted), answer in zip(tries, answers, strict=True)
        if (answer == "open") != wanted
    ]
    authority = str(installation.authority)
    for source, to, port in (("gateway", HOSTS["scheduler"], 7000), ("scheduler", HOSTS["node-a"], 7100)):
        if await _knock(source, "call", to, port, authority) == "open":
            found.append(f"{source} → {to}:{port} is answered without a certificate")
    return found


async def _knock(source: str, *words: str | int) -> str:
    program = await asyncio.create_subprocess_exec(
        *within(source), sys.executable, "-m", "bench.hosts.knock", *map(str, words),
        stdout=asyncio.subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip
    told, _ = await program.communicate()
    return told.decode().strip()
