"""What the command line costs, against curl: `make bench-cli`.

Both sides do the same against one stack, in turns: upload a film, submit, wait for the end, download the
result; then files of half a GiB and of two up and down, by the command, by the library in a process that has it loaded,
and by curl; then many submissions, one by one and by the batch. Targets: help ≤ 300 ms, at most 0.5 s more a run,
transfers of the library within 10 % of curl's time. The command's transfers are shown too, and have its start in them.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import mmap
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from bench.ffmpeg import run as ffmpeg
from stack.assembly import Stack
from stack.settings import StackSection
from yivideo_client import AsyncClient, Task

RUNS = 7
TRANSFERS = ((512, 7), (2048, 3))
"""MiB, rounds."""
SUBMISSIONS = 1000
SUBMIT_RUNS = 3
AT_ONCE = 16
"""Single submissions under way at a time."""
YIVIDEO = [sys.executable, "-m", "yivideo_client.cli.main"]
_CURL_RUN = """
set -e
path=$(curl -sS -T "$FILM" "$URL/v1/files/films/$NAME.mp4" | grep -o '"file_path":"[^"]*"' | cut -d'"' -f4)
curl -sS "$URL/v1/tasks" -H 'Content-Type: application/json' -H 'Prefer: wait=60' \
  -d '{"task_id": "'$NAME'", "task_name": "ffmpeg.extract_audio", "input_data": {"video_path": "'$path'"}}' > "$OUT/answer.json"
curl -sS -o "$OUT/sound.wav" "$URL/v1/files/download/$(grep -o '"audio_path":"[^"]*"' "$OUT/answer.json" | cut -d'"' -f4)"
test -s "$OUT/sound.wav"
"""


class Cost(NamedTuple):
    """What some work took."""

    seconds: float
    cpu_seconds: float
    """Of this process and the commands that it ran; the servers' are the same for all sides."""


Costs = dict[str, list[Cost]]
"""Of each side, round by round: the command, the library (`client`), curl."""


def cost(work: Callable[[], object], fills_mib: int = 0) -> Cost:
    """Return what some work takes, whose commands have ended when it returns; `fills_mib`: of files, which the page cache takes.

    What was written before is on the disk when it begins: past some GiB of unwritten pages whoever writes next waits for them.
    """
    os.sync()
    _have_given(fills_mib)
    began, used = time.perf_counter(), _used()
    work()
    return Cost(time.perf_counter() - began, _used() - used)


def _have_given(mib: int) -> None:
    """Take memory and let go of it. What lies free for some seconds a virtual machine may give back to its host, and then it costs
    whoever fills it next four times as much (1.4 s of the processor for 2 GiB, instead of 0.35): by chance one side or another.
    """
    if mib:
        with mmap.mmap(-1, mib << 20) as memory, memoryview(memory)[:: mmap.PAGESIZE] as pages:
            pages[:] = b"x" * len(pages)


def _used() -> float:
    both = [resource.getrusage(who) for who in (resource.RUSAGE_CHILDREN, resource.RUSAGE_SELF)]
    return sum(one.ru_utime + one.ru_stime for one in both)


def in_turns(rounds: int, fills_mib: int = 0, **sides: Callable[[], object]) -> Costs:
    """Return the cost of each, round by round; who begins alternates. A first round, in which files are new, is not counted."""
    costs: Costs = {name: [] for name in sides}
    for side in sides.values():
        side()
    for turn in range(rounds):
        for name in list(sides) if turn % 2 else reversed(list(sides)):
            costs[name].append(cost(sides[name], fills_mib))
    return costs


def ratio(costs: Costs, side: str) -> float:
    """Return a side's time against curl's, the median of the rounds."""
    return statistics.median(
        ours.seconds / curl.seconds for ours, curl in zip(costs[side], costs["curl"], strict=True)
    )


def quiet(*words: str, **environment: str) -> None:
    """Run a command to its good end."""
    subprocess.run(
        words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment or None
    )


def runs(url: str, folder: Path) -> Costs:
    """Return costs of `yivideo run` and of the curl script, each on bytes the store has not seen."""
    film = folder / "film.mp4"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=d=5", "-f", "lavfi", "-i", "sine=d=5", "-shortest", str(film))
    content, numbers = film.read_bytes(), iter(range(10_000))

    def fresh() -> Path:
        path = folder / f"film-{next(numbers)}.mp4"
        path.write_bytes(content + random.randbytes(8))  # behind the last box, where a reader does not look
        return path

    def ours() -> None:
        quiet(
            *YIVIDEO,
            "--url",
            url,
            "run",
            "ffmpeg.extract_audio",
            str(fresh()),
            "-o",
            str(folder / "ours"),
            "-q",
        )

    def curl() -> None:
        path = fresh()
        out = folder / "curl"
        out.mkdir(exist_ok=True)
        quiet(
            "sh", "-c", _CURL_RUN, FILM=str(path), NAME=path.stem, URL=url, OUT=str(out), PATH="/usr/bin:/bin"
        )

    return in_turns(RUNS, yivideo=ours, curl=curl)


def transfers(url: str, folder: Path, mib: int, rounds: int) -> dict[str, Costs]:
    """Return costs of uploads and downloads, and hold that the bytes are right.

    All fetch the same stored file: of two, one may lie in the page cache and the other not.
    """
    source, ours, by_client, curl = (folder / f"{name}.bin" for name in ("large", "ours", "client", "curl"))
    piece = random.randbytes(1 << 20)
    with source.open("wb") as file:
        for _ in range(mib):
            file.write(piece)
    remote = f"{url}/v1/files"

    async def put() -> None:
        async with AsyncClient(url) as client:
            await client.files.upload(source, "large/client.bin")

    async def get() -> None:
        async with AsyncClient(url) as client:
            await client.files.download("large/curl.bin", by_client)

    up = in_turns(
        rounds,
        mib,
        yivideo=lambda: quiet(*YIVIDEO, "--url", url, "file", "put", str(source), "large/ours.bin", "-q"),
        client=lambda: asyncio.run(put()),
        curl=lambda: quiet("curl", "-sSf", "-T", str(source), f"{remote}/large/curl.bin"),
    )
    down = in_turns(
        rounds,
        mib,
        yivideo=lambda: quiet(*YIVIDEO, "--url", url, "file", "get", "large/curl.bin", str(ours), "-q"),
        client=lambda: asyncio.run(get()),
        curl=lambda: quiet("curl", "-sSf", "-o", str(curl), f"{remote}/download/large/curl.bin"),
    )
    digests = set()
    for path in (source, ours, by_client, curl):
        with path.open("rb") as stored:
            digests.add(hashlib.file_digest(stored, "sha256").digest())
        path.unlink()
    assert len(digests) == 1, "what came back is not what was sent"
    return {f"upload {mib} MiB": up, f"download {mib} MiB": down}


async def submissions(url: str) -> tuple[list[float], list[float]]:
    """Return seconds of a thousand submissions one by one, 16 under way, and by the batch; none of them ever starts."""
    single: list[float] = []
    batch: list[float] = []
    async with AsyncClient(url) as client:
        later: dict[str, Any] = {"delay_seconds": 86_400.0}
        films: dict[str, Any] = {"video_path": "films/none.mp4"}
        name = "ffmpeg.extract_audio"
        body = {"task_name": name, "input_data": films, **later}

        async def worker(numbers: Iterator[int]) -> None:
            for _ in numbers:
                await client.tasks.submit(name, films, **later)

        for _ in range(SUBMIT_RUNS):
            began, numbers = time.perf_counter(), iter(range(SUBMISSIONS))
            await asyncio.gather(*(worker(numbers) for _ in range(AT_ONCE)))
            single.append(time.perf_counter() - began)
            began = time.perf_counter()
            outcomes = await client.tasks.submit_many(body for _ in range(SUBMISSIONS))
            batch.append(time.perf_counter() - began)
            assert all(isinstance(one, Task) for one in outcomes)
    return single, batch


async def measure(folder: Path) -> tuple[dict[str, Costs], tuple[list[float], list[float]]]:
    """Run everything against one stack; returns the commands' costs, and the seconds of submissions."""
    stack = Stack(StackSection(folder=folder / "stack", gateway_listen="127.0.0.1:0", only=("ffmpeg",)))
    async with stack.running():
        rows = {"run": await asyncio.to_thread(runs, stack.url, folder)}
        for mib, rounds in TRANSFERS:
            rows |= await asyncio.to_thread(transfers, stack.url, folder, mib, rounds)
        return rows, await submissions(stack.url)


def main() -> int:
    """Measure, print a table and the result line; returns 1 when a target is missed."""
    with tempfile.TemporaryDirectory(prefix="yivideo-bench-") as name:
        rows, submits = asyncio.run(measure(Path(name)))
    help_ms = 1000 * statistics.median(cost(lambda: quiet(*YIVIDEO, "--help")).seconds for _ in range(RUNS))
    single, batch = map(statistics.median, submits)
    print(f"{'':20}{'':10}{'seconds':>9}{'of curl':>9}{'CPU s':>9}")
    for label, costs in rows.items():
        for side, rounds in costs.items():
            seconds, used = (statistics.median(figures) for figures in zip(*rounds, strict=True))
            print(f"{label:20}{side:10}{seconds:>9.3f}{ratio(costs, side):>9.2f}{used:>9.2f}")
    print(
        f"{SUBMISSIONS} submissions: {single:.2f} s one by one ({AT_ONCE} under way), {batch:.2f} s by the batch"
    )
    transferred = {label: costs for label, costs in rows.items() if label != "run"}
    ratios = {label: ratio(costs, "client") for label, costs in transferred.items()}
    ours, curl = (statistics.median(one.seconds for one in rows["run"][side]) for side in ("yivideo", "curl"))
    overhead = ours - curl
    figures = {
        "help_ms": round(help_ms),
        "run_overhead_ms": round(1000 * overhead),
        **{f"{label.replace(' ', '_')}_ratio_curl": round(one, 3) for label, one in ratios.items()},
        **{
            f"{label.replace(' ', '_')}_command_ratio_curl": round(ratio(costs, "yivideo"), 3)
            for label, costs in transferred.items()
        },
        "batch_submissions_per_second": round(SUBMISSIONS / batch),
        "batch_ratio_single": round(single / batch, 2),
    }
    print("RESULT", json.dumps(figures))
    good = help_ms <= 300 and overhead <= 0.5 and max(ratios.values()) <= 1.1
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
