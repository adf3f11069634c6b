"""Two nodes on the same cores: `python -m bench.audio.side_by_side [--rounds 3]`.

Transcription and diarization of a recording each, models warm, each node with all cores as it is by default: one after the other,
and both at once. Threads that spin while they wait, or that fight for a core, would make both at once take longer than one after
the other. Rounds alternate; medians count. Ends with `RESULT {"side_by_side_over_sum": …}`, at most 1.05.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from bench.audio.asr import recording
from bench.quality import dialogues
from nodekit.testkit import NodeUnderTest
from services.asr.node import node as asr_node
from services.diarize.node import node as diarize_node

GATE = 1.05
_HEAR_MINUTES, _TALKS = 1.0, 4


async def timed(under_test: NodeUnderTest, task: str, given: dict[str, Any]) -> float:
    """Return the seconds that a task takes."""
    began = time.perf_counter()
    result = await under_test.run(task, given, task_id=f"round-{time.monotonic_ns()}", wait_seconds=900)
    if result.outcome != "completed":
        raise SystemExit(f"{task}: {result.error.code}: {result.error.message}")
    return time.perf_counter() - began


async def measure(folder: Path, rounds: int) -> float:
    """Return the time of both at once over the sum of the times of each alone."""
    poem = recording(folder, _HEAR_MINUTES)
    talks = [dialogues.make(4, seed).samples for seed in range(_TALKS)]
    talk = dialogues.write_wave(folder / "talk.wav", np.concatenate(talks))
    hear = ("faster_whisper.transcribe_audio", {"audio_path": str(poem), "language": "en"})
    tell = ("pyannote_audio.diarize_speakers", {"audio_path": str(talk)})
    shares = []
    options: dict[str, Any] = {"threads": os.cpu_count() or 1, "allowed_roots": (folder,)}
    async with (
        NodeUnderTest(asr_node, folder / "asr", **options) as asr,
        NodeUnderTest(diarize_node, folder / "diarize", **options) as diarize,
    ):
        await timed(asr, *hear)
        await timed(diarize, *tell)
        for _ in range(rounds):
            alone = [await timed(asr, *hear), await timed(diarize, *tell)]
            began = time.perf_counter()
            together = await asyncio.gather(timed(asr, *hear), timed(diarize, *tell))
            both = time.perf_counter() - began
            shares.append(both / sum(alone))
            print(
                f"alone {alone[0]:.2f} s and {alone[1]:.2f} s; at once {together[0]:.2f} s and {together[1]:.2f} s, "
                f"all of it {both:.2f} s: {shares[-1]:.3f} of the sum"
            )
    return median(shares)


def main() -> None:
    """Measure, print and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        share = asyncio.run(measure(Path(folder), arguments.rounds))
    print("RESULT", json.dumps({"side_by_side_over_sum": round(share, 4)}))
    if share > GATE:
        sys.exit(f"over the gate of {GATE}")


if __name__ == "__main__":
    main()
