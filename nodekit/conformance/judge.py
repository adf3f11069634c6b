"""Judges one node by all laws, and tells what came of each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import grpc

from nodekit.conformance import laws_of_attempts, laws_of_nodes, laws_of_stops
from nodekit.conformance.followed_stream import Silent
from nodekit.conformance.law import LAWS, Broken, Law, NotJudged
from nodekit.conformance.node_caller import NodeCaller

_MODULES = [module.__name__ for module in (laws_of_nodes, laws_of_attempts, laws_of_stops)]
_LAW_SECONDS = 120.0


def all_laws() -> list[Law]:
    """Return all laws in the order in which they are judged."""
    return sorted(LAWS, key=lambda law: _MODULES.index(law.check.__module__))


@dataclass(frozen=True)
class Finding:
    """What came of one law."""

    law: str
    outcome: str
    """`kept`, `broken` or `not judged`."""
    text: str
    """The law, or why it is broken or not judged."""


async def judge(
    caller: NodeCaller, only: Sequence[str] = (), told: Callable[[Finding], None] = lambda _: None
) -> list[Finding]:
    """Judge a node by all laws, or by those named; `told` hears each finding when it is there."""
    chosen = [law for law in all_laws() if not only or law.name in only]

    async def one(law: Law) -> Finding:
        finding = await _judge(law, caller)
        told(finding)
        return finding

    found = [await one(law) for law in chosen if not law.waits]
    return found + list(await asyncio.gather(*(one(law) for law in chosen if law.waits)))


async def _judge(law: Law, caller: NodeCaller) -> Finding:
    try:
        async with asyncio.timeout(_LAW_SECONDS):
            await law.check(caller)
    except (Broken, Silent) as error:
        return Finding(law.name, "broken", str(error))
    except NotJudged as error:
        return Finding(law.name, "not judged", str(error))
    except grpc.aio.AioRpcError as error:
        return Finding(law.name, "broken", f"a call gave {error.code().name}: {error.details()}")
    except TimeoutError:
        return Finding(law.name, "broken", f"no end within {_LAW_SECONDS:g} s")
    return Finding(law.name, "kept", law.text)
