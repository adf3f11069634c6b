"""Malformed requests against a whole real stack: `make fuzz` (10,000) or `make fuzz requests=500`.

A third goes to the gateway, made by schemathesis from our own OpenAPI description; the rest are protobuf messages, damaged or
absurd, for every RPC of the scheduler, the node, the filestore and the lock service. Laws: no answer is a fault of ours (5xx;
INTERNAL, UNKNOWN, UNAVAILABLE, no answer), no process dies, no log tells of a fault, every accepted task is listed and ends, and
nothing is left of it once deleted. The seed is printed; `--seed` repeats a run as far as the timing of a real stack allows.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import grpc
import redis

from tests.fuzz.judge import TaskJudge, crashed, group, memory_mib, starts, traces
from tests.fuzz.messages import Malformer
from tests.fuzz.rest import RestFuzzer
from tests.fuzz.rpcs import RpcFuzzer, Target, services, untried
from tests.fuzz.tally import Tally
from tests.stories.conftest import RunningStack, running_stack

_SHOWN = 10


def main() -> int:
    """Run, and say 0 when every law held."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**31))
    parser.add_argument(
        "--codes", action="store_true", help="print how often each operation gave each answer"
    )
    given = parser.parse_args()
    print(f"seed {given.seed}, {given.requests} requests", flush=True)
    os.environ["YIVIDEO_GATEWAY__MAX_WAIT_SECONDS"] = "0"  # else `Prefer: wait` makes a request last a minute
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="yivideo-fuzz-") as folder:
        found = fuzz(Path(folder) / "run", given.requests, given.seed, codes=given.codes)
    print(f"{time.monotonic() - began:.0f} s")
    print("RESULT " + json.dumps(found))
    return 1 if any(value for name, value in found.items() if name not in ("requests", "seed")) else 0


def fuzz(folder: Path, requests: int, seed: int, *, codes: bool) -> dict[str, int]:
    """Start a stack, send the requests, judge."""
    tally = Tally()
    with running_stack(folder) as stack:
        pids = starts(stack.card["pids"].values())
        before = memory_mib(pids)
        rest = RestFuzzer(stack.url, seed, tally)
        rest.run(requests // 3)
        answers = rest.codes + asyncio.run(_rpcs(stack, requests - tally.requests, seed, tally))
        leaked = asyncio.run(_judge(stack, tally))
        dead = crashed(pids)
        print(f"resident memory of all processes: {before:.0f} MiB before, {memory_mib(pids):.0f} MiB after")
    logged = traces(folder / "logs")
    if codes:
        print(*(f"{count:6} {what}" for what, count in sorted(answers.items())), sep="\n")
    print(f"leaked: {len(leaked)}", *leaked[:_SHOWN], sep="\n  ")
    print(f"logged: {len(logged)}")
    for ending, lines in group(logged).items():
        print(f"  {len(lines)} that end like: …{ending}\n    {lines[0][:200]}")
    return {
        "requests": tally.requests, "server_errors": tally.faults.total(), "crashes": len(dead), "leaked_tasks": len(leaked),
        "logged_faults": len(logged), "seed": seed,
    }  # fmt: skip


def _channels(stack: RunningStack) -> dict[str, grpc.aio.Channel]:
    addresses = {
        "scheduler": stack.card["schedulers"][0],
        "node": stack.card["nodes"]["ffmpeg"][0],
        "filestore": stack.card["filestore"],
        "gpulock": stack.card["gpulock"][0],
    }
    return {name: grpc.aio.insecure_channel(address) for name, address in addresses.items()}


def _metadata(stack: RunningStack) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {stack.card['token']}"),)


async def _rpcs(stack: RunningStack, requests: int, seed: int, tally: Tally) -> Counter[str]:
    channels = _channels(stack)
    for server, channel in channels.items():
        for name in await untried(server, channel, _metadata(stack)):
            tally.fault(f"{server} offers {name}, which is not tried", "", "")
    targets = [
        Target(server, channels[server], method)
        for server, offered in services().items()
        for service in offered
        for method in service.methods
    ]
    fuzzer = RpcFuzzer(targets, Malformer(seed), tally, _metadata(stack))
    await fuzzer.run(requests)
    for channel in channels.values():
        await channel.close()
    return fuzzer.codes


async def _judge(stack: RunningStack, tally: Tally) -> list[str]:
    channels = _channels(stack)
    host, _, port = stack.card["redis"].rpartition(":")
    store = redis.Redis(host, int(port), password=stack.card["token"])
    try:
        judge = TaskJudge(channels["scheduler"], [channels["node"]], _metadata(stack))
        return await judge.leaked(tally, store)
    finally:
        store.close()
        for channel in channels.values():
            await channel.close()


if __name__ == "__main__":
    sys.exit(main())
