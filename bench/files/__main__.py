"""Files through the gateway against the same client straight at the backend: `make bench-files`.

One client carries a 1 GiB film from a file to the store and back to another file, hashing every byte on the way. It does so
through `/v1/files` (gateway, filestore, backend, each its own process) and straight at the backend: into and out of a folder
of the same disk, with the sync that the store promises, and to radosgw with the `minio` library. Both ways take turns in one
run; a ratio is the median over the rounds. Before a download from the disk the page cache is told to forget the film both
ways; then it is fetched once more out of the page cache (`warm`). Beside each stands what a GiB costs the gateway in
processor seconds. The floor of a download is the same client at a bare sender: one thread that has the kernel carry the file
from the disk to the socket, and does nothing else. S3 is measured twice: `s3` as it is set up for clients, with a public
endpoint, where a download is answered with a link to the store; `s3_proxied` without one, where every byte passes the
gateway. Memory is the growth of the two processes' peak over their size after a small warm-up.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
from pathlib import Path

from bench.files.bare_sender import running
from bench.files.film import MIB, Film, make_film
from bench.files.rates import Rates, compare
from bench.files.servers import stack
from bench.files.ways import Direct, Folder, Way
from bench.servers import ROOT
from runtime.heap import keep_large_blocks
from tests.s3 import radosgw


def measure(
    film: Film,
    small: Film,
    name: str,
    folder: Path,
    server: radosgw.S3Server | None,
    environment: dict[str, str],
    rounds: int,
) -> tuple[Rates, float]:
    """Compare on one backend; returns the rates and the larger growth of the two processes in MiB."""
    (folder / "direct").mkdir(exist_ok=True)
    direct: Way = Direct(server) if server else Folder(folder / "direct")
    with stack(folder, environment) as (gateway, servers), contextlib.ExitStack() as bare:
        floor = None if server else bare.enter_context(running(folder / "direct"))
        small.up(gateway, "warm")
        small.down(gateway, "warm")
        for each in servers:
            each.settle()
        rates = compare(
            film,
            direct,
            gateway,
            rounds,
            [] if server else [folder / "direct", folder / "files" / "blobs"],
            next(each for each in servers if each.name == "gateway").cpu_seconds,
            floor,
        )
        rates.print(name)
        carried = (2 if server else 3) * (rounds + 1) * film.size / 1024**3
        for each in servers:
            print(
                f"      {each.name}: {each.idle_mib:.0f} MiB idle, +{each.growth_mib():.0f} MiB at its peak, "
                f"{each.cpu_seconds() / carried:.2f} CPU s/GiB"
            )
        return rates, max(each.growth_mib() for each in servers)


def main() -> int:
    """Measure on disk and on radosgw, and print the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=1024, help="size of the film (default: 1024)")
    parser.add_argument("--rounds", type=int, default=3, help="measured rounds of each backend (default: 3)")
    parser.add_argument("--backend", choices=["disk", "s3", "both"], default="both")
    options = parser.parse_args()
    keep_large_blocks()
    result: dict[str, float | None] = dict.fromkeys(
        (
            "disk_up_ratio",
            "disk_down_ratio",
            "s3_up_ratio",
            "s3_down_ratio",
            "gateway_cpu_up",
            "gateway_cpu_down",
        ),
        None,
    )
    growths: list[float] = []
    with (
        tempfile.TemporaryDirectory(prefix="bench-files-", dir=ROOT) as name,
        contextlib.ExitStack() as servers,
    ):
        folder = Path(name)
        (folder / "small").mkdir()
        film = make_film(folder, options.mib * MIB)
        small = make_film(folder / "small", MIB)
        backends: list[tuple[str, radosgw.S3Server | None, dict[str, str]]] = []
        if options.backend != "s3":
            backends.append(("disk", None, {}))
        if options.backend != "disk":
            rgw = servers.enter_context(radosgw.running())
            public = {"MINIO_PUBLIC_ENDPOINT": f"http://{rgw.host}:{rgw.port}"}
            backends.append(("s3", rgw, rgw.environment() | public))
            backends.append(("s3_proxied", rgw, rgw.environment()))
        print(f"{options.mib} MiB, median of {options.rounds} rounds, MiB/s")
        print("                  straight  gateway   ratio   [gateway, every round]")
        for label, server, environment in backends:
            rates, growth = measure(film, small, label, folder, server, environment, options.rounds)
            result[f"{label}_up_ratio"] = round(rates.ratio("up"), 2)
            result[f"{label}_down_ratio"] = round(rates.ratio("down"), 2)
            if label == "disk":
                result["disk_down_warm_ratio"] = round(rates.ratio("warm"), 2)
                result["disk_down_ratio_floor"] = round(rates.floor_ratio("down"), 2)
                result["disk_down_warm_ratio_floor"] = round(rates.floor_ratio("warm"), 2)
                result["gateway_cpu_up"] = round(rates.cpu("up"), 2)
                result["gateway_cpu_down"] = round(rates.cpu("down"), 2)
                result["gateway_cpu_down_warm"] = round(rates.cpu("warm"), 2)
            growths.append(growth)
    print("RESULT " + json.dumps({**result, "rss_growth_mib": round(max(growths), 1)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
