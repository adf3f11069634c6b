"""Speed of hearing through the node: `python -m bench.audio.asr [--minutes 5]`.

The same recording, model, threads, language and beam in one run: the bare library in a process of its own, in batches and window
by window, and the task as a client runs it (gRPC, decode, worker, files), model warm. Rounds alternate and medians are
compared, since other work on the machine slows all of them; processor seconds, which it hardly does, stand beside them.
The first batches are small, so that watchers see words soon: they are most of a short recording. `--minutes 60 --rounds 0` is the
hour: the worker's memory only. What batches can gain on these cores is what the bare library gains by them:
`asr_bare_batched_gain`. Ends with `RESULT {"asr_ratio_bare": …, "asr_batched_gain": …, …}`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from bench.processes import cpu_seconds, tree
from nodekit.models import model_store
from nodekit.testkit import NodeUnderTest
from services.asr.node import node

MEDIA = Path(__file__).resolve().parents[3] / "shared" / "media"
TASK = "faster_whisper.transcribe_audio"
GATES = {"asr_ratio_bare": 1.05}
_BATCHED_GAIN = 1.3
_BARE = """
import sys, time
from faster_whisper import BatchedInferencePipeline, WhisperModel
folder, threads = sys.argv[1:]
model = WhisperModel(folder, device="cpu", compute_type="int8", cpu_threads=int(threads), local_files_only=True)
batched = BatchedInferencePipeline(model)
for line in sys.stdin:
    way, path = line.split(maxsplit=1)
    began, spent = time.perf_counter(), time.process_time()
    options = {"language": "en", "word_timestamps": True, "beam_size": 5}
    if way == "batched":
        found, _ = batched.transcribe(path.strip(), batch_size=8, **options)
    else:
        found, _ = model.transcribe(path.strip(), vad_filter=True, **options)
    words = sum(len(segment.words) for segment in found)
    print(time.perf_counter() - began, time.process_time() - spent, words, flush=True)
"""


class Bare:
    """The library in a process of its own, its model loaded once."""

    def __init__(self, threads: int) -> None:
        folder = str(model_store().folder("faster-whisper-base"))
        self._process = subprocess.Popen(
            [sys.executable, "-c", _BARE, folder, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def hear(self, way: str, path: Path) -> tuple[float, float]:
        """Return the seconds that the library took, and those of processors."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{way} {path}\n")
        self._process.stdin.flush()
        seconds, spent, _ = self._process.stdout.readline().split()
        return float(seconds), float(spent)

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def recording(folder: Path, minutes: float) -> Path:
    """Make a recording of so many minutes out of the sonnet."""
    target = folder / "long.flac"
    loops = ["-stream_loop", "-1", "-t", str(minutes * 60), "-i", str(MEDIA / "asr/sonnet001.mp3")]
    subprocess.run(
        ["ffmpeg", "-v", "error", "-y", *loops, "-ac", "1", "-ar", "16000", str(target)], check=True
    )
    return target


def largest_worker_mib() -> float:
    """Return the resident set of our largest child."""
    sizes = [0.0]
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == os.getpid():
                sizes.append(
                    int((folder / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
                )
        except OSError:
            continue
    return max(sizes)


async def measure(folder: Path, minutes: float, rounds: int) -> dict[str, float]:
    """Return every figure."""
    path, threads = recording(folder, minutes), os.cpu_count() or 1
    times: dict[str, list[tuple[float, float]]] = {"node": [], "batched": [], "sequential": []}
    sizes: list[float] = []

    def note(way: str, taken: tuple[float, float]) -> None:
        times[way].append(taken)
        print(f"{way:12} {taken[0]:7.2f} s, {taken[1]:.2f} of processors", flush=True)

    # The audio limit is for uploads of strangers; this file is ours.
    options: dict[str, Any] = {"audio_limit_mib": 4000, "threads": threads, "allowed_roots": (MEDIA,)}
    async with NodeUnderTest(node, folder, **options) as under_test:

        def on_event(event: Any) -> None:
            if event.HasField("checkpoint"):
                sizes.append(largest_worker_mib())

        async def through_node(audio: Path = path) -> tuple[float, float]:
            began, spent = time.perf_counter(), cpu_seconds(tree([os.getpid()]))
            result = await under_test.run(
                TASK,
                {"audio_path": str(audio), "language": "en"},
                task_id=f"round-{time.monotonic_ns()}",
                wait_seconds=7200,
                on_event=on_event,
            )
            if result.outcome != "completed":
                raise SystemExit(f"{result.error.code}: {result.error.message}")
            return time.perf_counter() - began, cpu_seconds(tree([os.getpid()])) - spent

        await through_node(MEDIA / "asr/jfk.flac")  # the model is loaded, and the figures are of a warm one
        if rounds == 0:
            times["node"].append(await through_node())
            took = times["node"][0][0]
            return {"asr_x_realtime": took / minutes / 60, "asr_worker_growth_mib": growth(sizes)}
        bare = await asyncio.to_thread(Bare, threads)
        for _ in range(rounds):
            note("node", await through_node())
            for way in ("batched", "sequential"):
                note(way, await asyncio.to_thread(bare.hear, way, path))
        await asyncio.to_thread(bare.close)
    middle = {way: median(seconds for seconds, _ in each) for way, each in times.items()}
    spent = {way: median(seconds for _, seconds in each) for way, each in times.items()}
    return {
        "asr_ratio_bare": middle["node"] / middle["batched"],
        "asr_x_realtime": middle["node"] / minutes / 60,
        "asr_batched_gain": middle["sequential"] / middle["node"],
        "asr_bare_batched_gain": middle["sequential"] / middle["batched"],
        "asr_cpu_ratio_bare": spent["node"] / spent["batched"],
        "asr_cpu_batched_gain": spent["sequential"] / spent["node"],
        "asr_cpu_bare_batched_gain": spent["sequential"] / spent["batched"],
        "asr_worker_growth_mib": growth(sizes),
    }


def growth(sizes: list[float]) -> float:
    """Return by how much the worker has grown from the first third of its checkpoints to the last."""
    third = max(1, len(sizes) // 3)
    return median(sizes[-third:]) - median(sizes[:third]) if sizes else 0.0


def main() -> None:
    """Measure, print and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0, help="length of the recording; 60 for the hour")
    parser.add_argument("--rounds", type=int, default=3, help="0: only the node, once (memory of an hour)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(measure(Path(folder), arguments.minutes, arguments.rounds))
    figures = {name: round(value, 4) for name, value in figures.items()}
    print("RESULT", json.dumps(figures))
    sys.exit(
        any(figures.get(name, 0) > limit for name, limit in GATES.items())
        or figures.get("asr_batched_gain", _BATCHED_GAIN) < _BATCHED_GAIN
    )


if __name__ == "__main__":
    main()
