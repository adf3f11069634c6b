"""Many waiters for ten devices, and what a long queue costs; all sessions live in this process."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import pairwise

import uvloop

from bench.gpulock.redis_load import RedisLoad
from bench.gpulock.servers import MANY
from bench.gpulock.session import Session, open_session
from bench.gpulock.turns import SECOND, Turn, handovers, percentile

_SESSIONS = 20
_HOLD_SECONDS = 0.005
_PROBES = 150


@dataclass
class Crowd:
    """What was seen."""

    waiters: int
    turns: dict[str, list[Turn]] = field(default_factory=dict)
    """By device."""
    tokens: dict[int, int] = field(default_factory=dict)
    """Token by place in the order of asking."""
    seconds: float = 0.0
    script_short_us: float = 0.0
    """Mean time of a script while nobody waits."""
    script_long_us: float = 0.0
    """The same while the queue is long."""

    @property
    def handovers(self) -> list[float]:
        """Seconds of each hand-over of each device."""
        return [seconds for turns in self.turns.values() for seconds in handovers(turns)]

    @property
    def inversions(self) -> int:
        """Grants that came before one which was asked for earlier."""
        ordered = [self.tokens[place] for place in sorted(self.tokens)]
        return sum(later < earlier for earlier, later in pairwise(ordered))

    def text(self) -> str:
        """Return one line of figures."""
        return (
            f"{self.waiters} waiters, {len(self.turns)} devices: all served in {self.seconds:.2f} s "
            f"({self.waiters / self.seconds:.0f} grants/s), hand-over {percentile(self.handovers, 0.5) * 1000:.2f} / "
            f"{percentile(self.handovers, 0.99) * 1000:.2f} ms, {self.inversions} inversions"
        )


async def _take(session: Session, crowd: Crowd, place: int, asked: asyncio.Event) -> None:
    request_id = f"crowd:{place}"
    begin = time.monotonic_ns()
    lease = await session.acquire(request_id, pool="ten", max_wait_seconds=300)
    running = time.monotonic_ns()
    await asyncio.sleep(_HOLD_SECONDS)
    if place < MANY["ten"]:
        await asked.wait()
    releasing = time.monotonic_ns()
    await session.release(lease)
    crowd.turns.setdefault(lease.devices[0].device, []).append(Turn(begin, running, releasing))
    crowd.tokens[place] = lease.token


async def _probe(session: Session, name: str) -> None:
    """Ask and take back, again and again."""
    for number in range(_PROBES):
        request_id = f"{name}:{number}"
        await session.ask(request_id, pool="ten")
        await session.cancel(request_id)


async def _play(address: str, waiters: int, load: RedisLoad) -> Crowd:
    crowd = Crowd(waiters)
    first = MANY["ten"]
    async with AsyncExitStack() as stack:
        sessions = [
            await stack.enter_async_context(open_session(address, f"crowd/{number}"))
            for number in range(_SESSIONS)
        ]
        asked = asyncio.Event()
        tasks = []
        for place in range(waiters + first):
            session = sessions[place % _SESSIONS]
            answered = session.answered(f"crowd:{place}")
            tasks.append(asyncio.ensure_future(_take(session, crowd, place, asked)))
            await answered  # so that the order of asking is beyond doubt
            if place == first:
                with load.script_microseconds() as short:
                    await _probe(sessions[-1], "short")
        with load.script_microseconds() as long:
            await _probe(sessions[-1], "long")
        crowd.script_short_us, crowd.script_long_us = short[0], long[0]
        begin = time.monotonic_ns()
        asked.set()
        await asyncio.gather(*tasks)
        crowd.seconds = (time.monotonic_ns() - begin) / SECOND
    return crowd


def play(address: str, waiters: int, load: RedisLoad) -> Crowd:
    """Let so many wait for ten devices, then serve them all."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_play(address, waiters, load))


async def _dead_holder(command: list[str], address: str, ttl: float) -> float:
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None and process.stdout is not None
    await process.stdout.readline()
    before = time.monotonic()
    process.stdin.write(b'{"lock": "ours", "ask": 0, "hold": 1000}\n')
    async with open_session(address, "heir") as session:
        await asyncio.sleep(0.5)  # the holder holds by now: nobody else asks
        waiting = asyncio.ensure_future(session.acquire("heir:1", max_wait_seconds=300))
        await asyncio.sleep(0.5)
        process.kill()
        await process.wait()
        await waiting
        after = time.monotonic()
        await session.release(waiting.result())
    return after - before - ttl


def seconds_past_ttl(command: list[str], address: str, ttl_seconds: float) -> float:
    """Kill a holder before its first beat; returns how long after the end of its lease's life the next one held."""
    return asyncio.run(_dead_holder(command, address, ttl_seconds))
