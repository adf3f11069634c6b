"""Leases under attack: `make chaos-gpulock`.

Three nodes and a rogue want two devices from two replicas over one Redis; everything is killed, frozen and thawed; Redis comes back
with its memory, without it, or with an old one. What the programs on the devices have written down, and a resource that checks the
fence, judge the service: nobody used a device beside somebody else, no request was forgotten, no result was taken after a newer
holder had begun, and in the end nothing is held.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path

from bench.gpulock_chaos.arena import LOCK_DELAY_SECONDS, TTL_SECONDS, WINDOW_SECONDS, Arena
from bench.gpulock_chaos.journal import PUBLISH, START, read
from bench.gpulock_chaos.judge import Verdict, judge
from bench.gpulock_chaos.load import NODE_DIED, Load
from bench.gpulock_chaos.nemesis import Nemesis

_SETTLE_SECONDS = 30.0
_LEASE_SECONDS = 2 * (TTL_SECONDS + LOCK_DELAY_SECONDS + WINDOW_SECONDS)


async def play(arena: Arena, seed: int, seconds: float) -> tuple[Verdict, str]:
    """Attack for a while, heal, let everything end; returns the verdict, and what went on in words."""
    load = Load(arena, seed)
    nemesis = Nemesis(arena, seed, load.force_release)
    running = asyncio.create_task(load.run())
    await nemesis.run(seconds)
    load.stop()
    arena.rogue.kill()
    await asyncio.wait([running], timeout=_SETTLE_SECONDS)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    left = await load.left()
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _LEASE_SECONDS
    while left and loop.time() < deadline:
        await asyncio.sleep(0.2)
        left = await load.left()
    lines = read(arena.journals)
    judged = {task: end for task, end in load.ends.items() if end != NODE_DIED}
    starts = sum(line.kind == START for line in lines)
    rogues = sum(line.kind == START and line.task.startswith("rogue-") for line in lines)
    refused = sum(line.kind == PUBLISH and not line.accepted for line in lines)
    words = (
        f"{len(load.ends)} requests: {dict(Counter(load.ends.values()))}; {starts} uses, {rogues} of them "
        f"by rogues, {refused} results refused; "
        f"faults: {dict(nemesis.done)}"
    )
    return judge(lines, judged, left), words


def run(seed: int, seconds: float) -> bool:
    """Play one seed; prints its result."""
    with tempfile.TemporaryDirectory(prefix="chaos-gpulock-") as name:
        arena = Arena(Path(name), seed)
        try:
            arena.start()
            verdict, words = asyncio.run(play(arena, seed, seconds))
            ended = [
                victim.name for victim in (*arena.replicas, *arena.nodes, arena.redis) if not victim.alive
            ]
        finally:
            arena.close()
    print(words)
    for case in verdict.cases():
        print(case)
    if ended:
        print(f"ended by themselves: {', '.join(ended)}")
    print("RESULT " + json.dumps({"seed": seed, **verdict.counts()}), flush=True)
    return verdict.good and not ended


def main() -> int:
    """Play the seeds that were asked for; 1 when any law was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--seed", type=int, nargs="*", default=[1, 2, 3], help="seeds to play (default: 1 2 3)"
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="how long each is attacked (default: 60)")
    options = parser.parse_args()
    good = [run(seed, options.seconds) for seed in options.seed]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
