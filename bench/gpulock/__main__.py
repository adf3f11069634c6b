"""Hand-overs of a device, ours against the floor, two Redis locks and a poller: `make bench-gpulock`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from bench.gpulock import contest
from bench.gpulock.round_trip import idle_script_seconds
from bench.gpulock.servers import redis_server, rpc_server
from bench.gpulock.turns import percentile


def main() -> int:
    """Measure and print the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, default=1.0, help="share of the rounds to play (default: 1)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-gpulock-") as name, redis_server(Path(name)) as url:
        trips = idle_script_seconds(url, 100)
        table = contest.peers(url, options.share)
        with (
            rpc_server("bench.gpulock.floor_server", {}) as floor,
            contest.grpc_crew({"floor": floor}) as crew,
        ):
            table = contest.by_turns(crew, ["floor"], options.share) | table
        trips += idle_script_seconds(url, 100)
        contest.print_table(table)
        print(f"idle EVALSHA: {percentile(trips, 0.5) * 1000:.3f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
