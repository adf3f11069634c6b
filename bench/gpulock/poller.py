"""The seed's lock: SETNX with an expiry, and who does not get it asks again after 0.5 s, then 1, 2, 4 and every 5 s.

A hand-over takes as long as the next waiter sleeps on, so it depends on how long the holder kept the lock, which for a task on a
GPU is anything: here holders keep it for lengths spread evenly over two rounds of the slowest poll. Many locks are played at the
same time by the tasks of one process, since pollers mostly sleep.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

from redis.asyncio import BlockingConnectionPool, Redis

from bench.gpulock.crew import GAP_MILLISECONDS, HOLD_SECONDS
from bench.gpulock.turns import Figures, Turn

FIRST_POLL_SECONDS = 0.5
SLOWEST_POLL_SECONDS = 5.0
LOCK_SECONDS = 600
_SPREAD_SECONDS = 2 * SLOWEST_POLL_SECONDS

_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"

LOCKS: Mapping[int, int] = {1: 64, 2: 24, 8: 8, 32: 3}
"""How many locks are played at once, by waiters of each."""


def _link(url: str) -> Redis:
    return Redis.from_pool(BlockingConnectionPool.from_url(url, max_connections=100, timeout=30))


async def acquire(link: Redis, name: str, owner: str) -> None:
    """Wait for the lock as the seed does."""
    pause = FIRST_POLL_SECONDS
    while not await link.set(name, owner, nx=True, ex=LOCK_SECONDS):
        await asyncio.sleep(pause)
        pause = min(SLOWEST_POLL_SECONDS, pause * 2)


async def _turn(link: Redis, name: str, owner: str, ask_in: float, hold: float) -> Turn:
    await asyncio.sleep(ask_in)
    asked = time.monotonic_ns()
    await acquire(link, name, owner)
    running = time.monotonic_ns()
    await asyncio.sleep(hold)
    releasing = time.monotonic_ns()
    await link.eval(_RELEASE, 1, name, owner)
    return Turn(asked, running, releasing)


async def _lock(link: Redis, name: str, waiters: int, hold: float) -> list[Turn]:
    gap = GAP_MILLISECONDS / 1000
    turns = [
        _turn(link, name, f"{name}:{number}", number * gap, HOLD_SECONDS if number else hold)
        for number in range(waiters + 1)
    ]
    return await asyncio.gather(*turns)


async def play(url: str) -> dict[int, Figures]:
    """Play every number of waiters at once; gives the figures of each."""
    link = _link(url)
    try:
        games = [
            (
                waiters,
                _lock(link, f"poller:{waiters}:{number}", waiters, 1 + _SPREAD_SECONDS * number / count),
            )
            for waiters, count in LOCKS.items()
            for number in range(count)
        ]
        played = await asyncio.gather(*(game for _, game in games))
    finally:
        await link.aclose()
    found: dict[int, Figures] = {waiters: Figures.empty() for waiters in LOCKS}
    for (waiters, _), turns in zip(games, played, strict=True):
        found[waiters].add(turns)
    return found


async def commands_while_waiting(url: str, waiters: int, count: Callable[[], float]) -> float:
    """Return what `count` finds while so many pollers wait."""
    link = _link(url)
    tasks: list[asyncio.Future[None]] = []
    try:
        await link.set("poller:held", "somebody")
        tasks = [
            asyncio.ensure_future(acquire(link, "poller:held", f"w{number}")) for number in range(waiters)
        ]
        await asyncio.sleep(10)  # until all of them have backed off
        return await asyncio.to_thread(count)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await link.aclose()
