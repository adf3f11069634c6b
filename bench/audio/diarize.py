"""Speed of diarization through the node: `python -m bench.audio.diarize [--minutes 10]`.

A recording of many minutes is made of dialogues; the task runs as a client's would: gRPC, decode, worker, files. Ends with
`RESULT {"diar_x_realtime": …}`: seconds of waiting for each second of sound, the models warm.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from bench.quality import dialogues
from nodekit.testkit import NodeUnderTest
from services.diarize.node import node

GATE = 0.2


async def measure(folder: Path, minutes: float) -> tuple[float, int]:
    """Return wall seconds per second of sound, and the largest resident set of this process's children in MiB."""
    parts, seconds, seed = [], 0.0, 0
    while seconds < minutes * 60:
        samples = dialogues.make(4, seed).samples
        parts.append(samples)
        seconds += len(samples) / dialogues.SAMPLE_RATE
        seed += 1
    wave = dialogues.write_wave(folder / "long.wav", np.concatenate(parts))
    short = dialogues.write_wave(folder / "short.wav", parts[0])
    largest = 0

    async def watch() -> None:
        nonlocal largest
        while True:
            largest = max(largest, _workers_mib())
            await asyncio.sleep(0.2)

    # The audio limit is for uploads of strangers; this file is ours.
    async with NodeUnderTest(node, folder, audio_limit_mib=4000) as under_test:
        await under_test.run("pyannote_audio.diarize_speakers", {"audio_path": str(short)})
        watching = asyncio.create_task(watch())
        began = time.perf_counter()
        result = await under_test.run(
            "pyannote_audio.diarize_speakers",
            {"audio_path": str(wave)},
            wait_seconds=3000,
            timeout_seconds=3000,
        )
        took = time.perf_counter() - began
        watching.cancel()
    if result.outcome != "completed":
        raise SystemExit(f"{result.outcome}: {result.error.code} {result.error.message}")
    print(
        f"{seconds / 60:.1f} min: {took:.1f} s, engine {result.output['engine']}, {result.output['statistics']}"
    )
    print(f"speakers {result.output['total_speakers']}, segments {result.output['total_segments']}")
    return took / seconds, largest


def _workers_mib() -> int:
    """Return the largest resident set of a worker process, in MiB."""
    largest = 0
    for folder in Path("/proc").iterdir():
        try:
            if b"worker_main.py" not in (folder / "cmdline").read_bytes():
                continue
            pages = int((folder / "statm").read_text().split()[1])
        except (OSError, ValueError):
            continue
        largest = max(largest, pages * 4096 // 2**20)
    return largest


def main() -> None:
    """Measure, print and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        share, mib = asyncio.run(measure(Path(scratch), arguments.minutes))
    print("RESULT", json.dumps({"diar_x_realtime": round(share, 4), "diar_worker_rss_mib": mib}))
    if share > GATE:
        sys.exit(f"over the gate of {GATE}")


if __name__ == "__main__":
    main()
