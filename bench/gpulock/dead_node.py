"""How soon the next one holds a device when a node is killed and its reaper lives.

`-m bench.gpulock.dead_node ADDRESS` is the node.

It is what every node has of one, the reaper and the session, with a program at work under its mark.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import time

import uvloop

from bench.gpulock.session import RUNTIME, open_session
from nodekit.gpu.orphan_release import to_terms
from nodekit.gpu.session import LockSession
from nodekit.gpu.transport import LockReplicas
from nodekit.process.process_tree import MARK_VARIABLE
from nodekit.process.reaper import reaping
from runtime.program import Program
from yivideo.gpulock.v1 import lock_pb2


async def hold(address: str) -> None:
    """Hold the device at work until killed."""
    name = f"bench-node-{os.getpid()}"
    hello = lock_pb2.Hello(client_id=name, node="bench")
    async with reaping(f"{name}/") as reaper:
        reaper.release_on_death(to_terms(hello, [address], RUNTIME))
        session = LockSession(
            LockReplicas([address], RUNTIME).open,
            hello,
            margin_seconds=1,
            unreachable_seconds=60,
            ledger=reaper,
        )
        await session.acquire(lock_pb2.Acquire(request_id=name), lambda *_: None)
        await Program.start(["sleep", "300"], environment={**os.environ, MARK_VARIABLE: f"{name}/"})
        print("holds", flush=True)
        await asyncio.Event().wait()


async def _seconds(address: str) -> float:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.gpulock.dead_node", address, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    await process.stdout.readline()
    async with open_session(address, "heir") as session:
        name = f"heir-of-{process.pid}"
        waits = session.answered(name)
        waiting = asyncio.create_task(session.acquire(name, max_wait_seconds=300))
        await waits
        before = time.monotonic()
        process.kill()
        lease = await waiting
        after = time.monotonic()
        await session.release(lease)
    await process.wait()
    return after - before


def seconds_to_the_next(address: str, rounds: int) -> float:
    """Kill so many nodes; returns the median of the times until the next one held."""
    return statistics.median(asyncio.run(_seconds(address)) for _ in range(rounds))


if __name__ == "__main__":
    uvloop.run(hold(sys.argv[1]))
