"""Event streams under cuts, slow readers and many watchers, and callbacks beside a dead host: `make bench-streams`.

The parts are real processes: Redis with its log, two scheduler replicas, a node whose tasks only talk, one gateway.

1. Clients follow tasks over SSE (`Last-Event-ID`), gRPC (`after_sequence`, at either replica) and long polling
   (`Prefer: wait`). Each connection is cut after a random time, and each scheduler replica is killed once in every round.
   What each client was told is compared with the complete list of its task's events, read afterwards from the store.
2. Clients that read nothing while a task says more than the store keeps; then they read, and must be told of every
   event or of its loss.
3. Many SSE watchers on one gateway: who is connected to Redis, how many calls feed them, and what each costs.
4. Callbacks to a good host while a thousand wait for one that takes connections and never answers.

The seed is printed; `--seed` repeats the choices (not the machine's timing).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import secrets
import sys
import tempfile
import time
from pathlib import Path

from bench.streams.callbacks import callbacks
from bench.streams.installation import Installation
from bench.streams.story import cut_streams, many_watchers, slow_readers


async def tell(options: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Run the four parts and print what they show."""
    installation = Installation(folder, schedulers=2, watchers=options.watchers)
    async with installation.running():
        cut = await cut_streams(
            installation,
            options.disconnects,
            random.Random(options.seed),
            tasks=12,
            each=5,
            seconds=9,
            kill=True,
        )
        print(
            f"cuts: {dict(cut.disconnects)}, {cut.clients} clients, {cut.kills} scheduler kills, {cut.events} events told, "
            f"missing {cut.missing}, duplicate {cut.duplicate}, wrong {cut.wrong}, gaps {cut.gaps}"
        )
        slow = await slow_readers(installation, 50, 4000)
        print(
            f"slow readers: {slow.count}, of {slow.sent_bytes / 2**20:.1f} MiB each; the gateway grew by "
            f"{slow.growth_bytes / 1024:.0f} KiB a reader; {slow.gaps} gap events, {slow.unexplained} events neither told nor gone"
        )
        many = await many_watchers(installation, options.watchers, 20, 15)
        print(
            f"watchers: {many.watchers} on {many.tasks} tasks, fed by {many.shared} calls; Redis connections "
            f"{many.before.all} → {many.during.all}, subscribed {many.before.readers} → {many.during.readers} "
            f"(one a scheduler replica), blocked {many.during.blocked}; growth a watcher: gateway "
            f"{many.gateway_bytes / 1024:.1f} KiB, schedulers {many.scheduler_bytes / 1024:.1f} KiB; incomplete {many.missing}"
        )
        sent = await callbacks(installation, 1000, 300)
        print(
            f"callbacks: {sent.fine} to a good host while {sent.dead} wait for one that never answers: {sent.rate:.0f}/s, "
            f"ended → received p50 {sent.p50_ms:.0f} ms, p99 {sent.p99_ms:.0f} ms; the queue then costs "
            f"{sent.core_percent:.1f} % of a core"
        )
    return {
        "disconnects": sum(cut.disconnects.values()),
        "missing": cut.missing,
        "duplicate": cut.duplicate,
        "wrong": cut.wrong,
        "unexplained_gaps": cut.gaps + slow.unexplained,
        "watchers": many.watchers,
        "watchers_incomplete": many.missing,
        "redis_readers": many.during.readers // len(installation.schedulers),
        "scheduler_calls": many.shared,
        "bytes_per_watcher": many.gateway_bytes + many.scheduler_bytes,
        "bytes_per_slow_reader": slow.growth_bytes,
        "callback_p99_ms": round(sent.p99_ms),
        "dead_queue_core_percent": round(sent.core_percent, 1),
        "seed": options.seed,
    }


def main() -> int:
    """Run and print the result; 1 when an event was lost or told twice."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--disconnects", type=int, default=1000)
    parser.add_argument("--watchers", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**32))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bench-streams-") as name:
        result = asyncio.run(tell(options, Path(name)))
    print(f"took {time.monotonic() - begun:.0f} s")
    print("RESULT", json.dumps(result))
    bad = ("missing", "duplicate", "wrong", "unexplained_gaps", "watchers_incomplete")
    return int(any(result[name] for name in bad))


if __name__ == "__main__":
    sys.exit(main())
