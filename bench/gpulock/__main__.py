"""Hand-overs of a device, ours against the floor, two Redis locks and a poller: `make bench-gpulock`.

The floor F is the hand-over through the same gRPC path with the queue in memory, and one idle round trip of an EVALSHA, because
no decision that lives in Redis can be had for less. Ours and the floor are played in turns by the same client processes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.gpulock import contest, crowd, dead_node, poller
from bench.gpulock.contest import PAIRS, WAITERS, Table
from bench.gpulock.crew import Crew
from bench.gpulock.redis_load import RedisLoad
from bench.gpulock.round_trip import script_seconds
from bench.gpulock.servers import (
    LOCK_DELAY_SECONDS,
    MANY,
    ONE,
    TTL_SECONDS,
    lock_service,
)
from bench.gpulock.session import open_session
from bench.gpulock.turns import SECOND, percentile
from bench.servers import redis_server, rpc_server

_LOOP_SECONDS = 8.0
_LOOP_HOLD_SECONDS = 0.02
_QUIET_SECONDS = 10.0


@dataclass
class Bench:
    """All figures of a run."""

    table: Table = field(default_factory=dict)
    trips: list[float] = field(default_factory=list)
    """Idle round trips of a script, in seconds."""
    rows: list[tuple[str, str, str]] = field(default_factory=list)
    """What, target, figure."""
    result: dict[str, float] = field(default_factory=dict)

    @property
    def script_ms(self) -> float:
        """One idle EVALSHA."""
        return percentile(self.trips, 0.5) * 1000

    def ratio(self, lock: str, waiters: int) -> float:
        """Return p50 over the floor."""
        return self.table[lock][waiters].milliseconds(0.5) / (
            self.table["floor"][waiters].milliseconds(0.5) + self.script_ms
        )

    def surcharge(self, waiters: int) -> float:
        """Return what waiting for the disk adds to p50, over the floor."""
        floor = self.table["floor"][waiters].milliseconds(0.5) + self.script_ms
        synced, ours = self.table["ours, disk first"][waiters], self.table["ours"][waiters]
        return (synced.milliseconds(0.5) - ours.milliseconds(0.5)) / floor

    def row(self, what: str, target: str, figure: str) -> None:
        """Note one more figure."""
        self.rows.append((what, target, figure))

    def judge_handovers(self) -> None:
        """Hold the hand-overs against their floor and the poller."""
        ratios = {waiters: self.ratio("ours", waiters) for waiters in WAITERS}
        self.result["handoff_p50_ratio_floor"] = round(max(ratios.values()), 2)
        times = self.table["poller"][1].milliseconds(0.5) / self.table["ours"][1].milliseconds(0.5)
        self.result["handoff_times_poller"] = round(times)
        self.row(
            "hand-over p50 / F",
            "≤ 1.5",
            ", ".join(f"{waiters}: {ratio:.2f}" for waiters, ratio in ratios.items()),
        )
        crossing = ", ".join(
            f"{waiters}: {self.ratio('ours, 2 replicas', waiters):.2f}" for waiters in WAITERS
        )
        self.row("… every one between two replicas", "≤ 1.5", crossing)
        synced = ", ".join(f"{waiters}: {self.surcharge(waiters):.2f}" for waiters in WAITERS)
        self.row("… every write on the disk before it is answered: more of F", "≤ 0.2", synced)
        tails = []
        for waiters in WAITERS:
            ours, floor = self.table["ours"][waiters], self.table["floor"][waiters]
            limit = floor.milliseconds(0.5) + self.script_ms if waiters <= 8 else floor.milliseconds(0.99)
            tails.append(f"{waiters}: {ours.milliseconds(0.99) / limit:.2f}")
        self.row("hand-over p99 / F (32 waiting: / floor's p99)", "≤ 2.5 (≤ 1.6)", ", ".join(tails))
        self.row("times faster than the poller, 1 waiting", "≥ 100", f"{times:.0f}")
        gpu_idle = self.table["ours"][1].milliseconds(0.5) / 10_000
        self.row("device idle at a hand-over of 10 s tasks", "≤ 0.05 %", f"{gpu_idle:.3%}")


def uncontended(bench: Bench, crew: Crew, url: str, load: RedisLoad, peers: Mapping[str, float]) -> None:
    """Take and give back with nobody in the way, against the same in memory and the round trips of the two scripts."""
    floor, _ = crew.pairs("floor", 1, PAIRS)
    with load.script_microseconds() as script:
        ours, rate = crew.pairs("ours", 1, PAIRS)
    _, many = crew.pairs("many/pairs", 32, PAIRS // 3)
    trip = percentile(script_seconds(url, 500, 0.0), 0.5)
    memory, p50 = percentile(floor, 0.5), percentile(ours, 0.5)
    others = ", ".join(f"{name} {seconds * 1e6:.0f} µs" for name, seconds in peers.items())
    figure = (
        f"{p50 / (memory + 2 * (trip + script[0] / 1e6)):.2f} ({p50 * 1e6:.0f} µs; floor {memory * 1e6:.0f} µs + twice "
        f"{trip * 1e6:.0f} µs to Redis and {script[0]:.0f} µs in it; {p50 / (memory + 2 * trip):.2f} with scripts that do nothing)"
    )
    bench.row("uncontended acquire + release p50 / (floor + 2 scripts)", "≤ 1.6", figure)
    bench.row("uncontended pairs a second, 1 and 32 sessions", "–", f"{rate:.0f}, {many:.0f} ({others})")
    bench.result["uncontended_pairs_per_second"] = round(rate)


def closed_loop(bench: Bench, crew: Crew) -> None:
    """Let 32 clients ask again and again; see who gets how many turns."""
    found = crew.loop("ours", 32, _LOOP_SECONDS, _LOOP_HOLD_SECONDS)
    waits = [(turn.running - turn.asked) / SECOND for turns in found for turn in turns]
    counts = [len(turns) for turns in found]
    busy = sum(counts) / _LOOP_SECONDS
    ideal = 31 / busy
    bench.row(
        "closed loop of 32: longest wait / (31 hand-overs)", "≤ 1.10",
        f"{max(waits) / ideal:.2f} ({busy:.1f} turns/s, {min(counts)}–{max(counts)} turns each)",
    )  # fmt: skip


def redis_operations(bench: Bench, load: RedisLoad, url: str, address: str) -> None:
    """Count what Redis is asked while nothing happens."""

    async def quiet(waiters: int) -> float:
        async with open_session(address, "idle") as session:
            name = f"idle-{waiters}"
            await session.ask(name)
            for number in range(waiters):
                await session.ask(f"{name}:{number}", max_wait_seconds=300)
            await asyncio.sleep(1)
            rate = await asyncio.to_thread(load.per_second, _QUIET_SECONDS)
            for number in range(waiters):
                await session.cancel(f"{name}:{number}")
            await session.release(session.held[name])
            return rate

    holder, waiting = asyncio.run(quiet(0)), asyncio.run(quiet(32))
    bench.result["idle_redis_ops_per_second"] = round(holder, 2)
    bench.result["waiting_redis_ops_per_second"] = round(waiting, 2)
    seed = asyncio.run(poller.commands_while_waiting(url, 32, lambda: load.per_second(_QUIET_SECONDS)))
    bench.row("Redis commands a second, one holder idle", "≤ 1", f"{holder:.2f}")
    bench.row("… and 32 waiting", "0 a waiter", f"{waiting:.2f} (the poller: {seed:.1f})")


def long_queue(bench: Bench, address: str, load: RedisLoad) -> None:
    """Serve a crowd."""
    seen = crowd.play(address, 1000, load)
    bench.row("ten devices, 1,000 waiters", "0 inversions", seen.text())
    ratio = seen.script_long_us / seen.script_short_us
    figure = f"{ratio:.2f} ({seen.script_long_us:.0f} / {seen.script_short_us:.0f} µs)"
    bench.row("time of ask and take back, 1,000 waiting / 1", "≤ 1.2", figure)
    contested = sum(figures.inversions for figures in bench.table["ours"].values())
    bench.result["order_inversions"] = seen.inversions + contested


def dead_nodes(bench: Bench, address: str) -> None:
    """Kill nodes whose reapers live."""
    seconds = dead_node.seconds_to_the_next(address, 5)
    bench.row(
        "killed node with its reaper: until the next one holds",
        f"< {TTL_SECONDS:.0f} s, its TTL",
        f"{seconds:.2f} s",
    )
    bench.result["dead_node_seconds"] = round(seconds, 2)


def measure(share: float) -> Bench:
    """Measure everything, and print the hand-overs as soon as they are known."""
    bench = Bench()
    with (
        tempfile.TemporaryDirectory(prefix="bench-gpulock-") as name,
        redis_server(Path(name, "leases")) as url,
        redis_server(Path(name, "synced"), "always") as synced_url,
    ):
        load = RedisLoad(url)
        bench.trips += script_seconds(url, 100)
        others, pairs = contest.peers(url, share)
        with rpc_server("bench.gpulock.floor_server", {}) as floor, lock_service(url, ONE) as ours:
            with (
                lock_service(url, ONE) as second,
                lock_service(url, MANY) as many,
                lock_service(synced_url, ONE) as synced,
                contest.grpc_crew(
                    {"floor": floor, "ours": ours, "second": second, "many": many, "synced": synced}
                ) as crew,
            ):
                ways = {
                    "floor": ["floor"],
                    "ours": ["ours"],
                    "ours, 2 replicas": ["ours", "second"],
                    "ours, disk first": ["synced"],
                }
                bench.table = contest.by_turns(crew, ways, 2 * share) | others
                bench.trips += script_seconds(url, 100)
                bench.judge_handovers()
                contest.print_table(bench.table)
                print(f"idle EVALSHA: {bench.script_ms:.3f} ms\n", flush=True)
                uncontended(bench, crew, url, load, pairs)
                closed_loop(bench, crew)
            redis_operations(bench, load, url, ours)
            command = [sys.executable, "-m", "bench.gpulock.grpc_client", f"ours={ours}"]
            late = crowd.seconds_past_ttl(command, ours, TTL_SECONDS)
            target = f"≤ {LOCK_DELAY_SECONDS * 1000 + 10:.0f} ms"
            bench.row("killed holder, nobody confirms: past its TTL", target, f"{late * 1000:.0f} ms")
            dead_nodes(bench, ours)
        with lock_service(url, MANY) as many:
            long_queue(bench, many, load)
        load.close()
    return bench


def main() -> int:
    """Measure and print the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, default=1.0, help="share of the rounds to play (default: 1)")
    bench = measure(parser.parse_args().share)
    for what, target, figure in bench.rows:
        print(f"{what:58} {target:18} {figure}")
    overlaps = sum(figures.overlaps for lock in bench.table.values() for figures in lock.values())
    print(f"{'two at once, any lock':58} {'0':18} {overlaps}")
    print("RESULT " + json.dumps(bench.result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
