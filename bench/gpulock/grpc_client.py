"""A client process of the lock service and of its floor: `-m bench.gpulock.grpc_client NAME=ADDRESS …`.

It obeys the plans that bench/gpulock/client.py describes; a plan's `lock` names one of the addresses, and may name a pool of the
service behind a slash.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import AsyncExitStack
from typing import Any

import uvloop

from bench.gpulock.session import Session, open_session


async def take_turn(session: Session, pool: str, plan: dict[str, Any]) -> list[int]:
    """Take one turn; returns when it asked, ran, and began to give back."""
    if "ask" in plan:
        await asyncio.sleep(max(0.0, (plan["ask"] - time.monotonic_ns()) / 1e9))
    asked = time.monotonic_ns()
    lease = await session.acquire(pool=pool, max_wait_seconds=300)
    running = time.monotonic_ns()
    await asyncio.sleep(plan["hold"])
    releasing = time.monotonic_ns()
    await session.release(lease)
    return [asked, running, releasing]


async def take_pairs(session: Session, pool: str, count: int) -> list[float]:
    """Take and give back so many times; returns the seconds of each pair."""
    times = []
    for _ in range(count):
        begin = time.perf_counter()
        await session.release(await session.acquire(pool=pool))
        times.append(time.perf_counter() - begin)
    return times


async def obey(session: Session, pool: str, plan: dict[str, Any]) -> list[Any]:
    """Carry out one plan."""
    if "pairs" in plan:
        return await take_pairs(session, pool, plan["pairs"])
    if "until" not in plan:
        return await take_turn(session, pool, plan)
    turns = []
    while time.monotonic_ns() < plan["until"]:
        turns.append(await take_turn(session, pool, plan))
    return turns


async def main() -> None:
    """Serve plans from standard input until it ends."""
    addresses = dict(argument.split("=", 1) for argument in sys.argv[1:])
    async with AsyncExitStack() as stack:
        sessions = {
            name: await stack.enter_async_context(open_session(address))
            for name, address in addresses.items()
        }
        print("ready", flush=True)
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            plan = json.loads(line)
            name, _, pool = plan["lock"].partition("/")
            print(json.dumps(await obey(sessions[name], pool, plan)), flush=True)


if __name__ == "__main__":
    uvloop.run(main())
