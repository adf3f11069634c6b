"""What traces cost: the rate part of `make bench-tasks` with traces off and on, in turns, in one run: `python -m bench.traces`.

`--base FOLDER` takes a checkout of another version into the turns, which shows what traces cost that are off. The collector is a
process of its own that reads nothing of what it gets; its processor time is not counted to the tasks, but it is on this machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import grpc
import uvloop

from bench import servers
from bench.tasks import ours, pace

_EXPORT = "opentelemetry.proto.collector.trace.v1.TraceService"


async def collect(port: int) -> None:
    """Be a collector until killed."""

    async def take(_: bytes, __: object) -> bytes:
        return b""

    server = grpc.aio.server()
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(take)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_EXPORT, {"Export": handler}),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    print("ready", flush=True)
    await server.wait_for_termination()


async def measure(base: Path | None, rounds: int, seconds: float, folder: Path) -> dict[str, pace.Table]:
    """Measure each kind in turns; returns a table of each."""
    port = servers.free_port()
    endpoint = {"YIVIDEO_RUNTIME__TRACES__ENDPOINT": f"http://127.0.0.1:{port}"}
    sampled = {**endpoint, "YIVIDEO_RUNTIME__TRACES__SAMPLE_RATIO": "0.01"}
    kinds: dict[str, tuple[Path, Mapping[str, str]]] = {
        "off": (servers.ROOT, {}), "on": (servers.ROOT, endpoint), "on, 1 of 100": (servers.ROOT, sampled),
    }  # fmt: skip
    if base is not None:
        kinds = {"base": (base, {}), **kinds}
    tables: dict[str, pace.Table] = {kind: {} for kind in kinds}
    with servers.program([sys.executable, "-m", "bench.traces", "--collector", str(port)], {}):
        await asyncio.sleep(2)
        for turn in range(rounds):
            for kind, (root, settings) in kinds.items():
                print(f"{kind}:", flush=True)
                place = folder / f"{turn}-{kind.replace(' ', '-').replace(',', '')}"
                async with ours.running(place, root, **settings) as stack:
                    await pace.measure(stack, tables[kind], seconds)
    return tables


def _summary(tables: Mapping[str, pace.Table]) -> dict[str, object]:
    result: dict[str, object] = {}
    for kind, table in tables.items():
        rows = table[pace.OURS]
        cpu = statistics.mean(one.cpu_ms for one in rows[max(rows)])
        result[kind] = {
            "rate": round(pace.best_rate(table, pace.OURS)),
            "p50_ms": round(pace.p50_ms(table, pace.OURS), 2),
            "cpu_ms_per_task": round(cpu, 3),
        }
    return result


def main() -> int:
    """Measure and print the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, help="a checkout of another version, with its generated code")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--collector", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.collector:
        uvloop.run(collect(options.collector))
        return 0
    print(pace.head(), flush=True)
    with tempfile.TemporaryDirectory(prefix="bench-traces-") as folder:
        tables = uvloop.run(measure(options.base, options.rounds, options.seconds, Path(folder)))
    print("RESULT " + json.dumps(_summary(tables)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
