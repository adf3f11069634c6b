"""Encodes many short WAV files in few ffmpeg runs: starting a process costs more than encoding a sentence."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import ffmpeg

from media.audio import CODECS, AudioCodec
from media.faults import MediaFault
from media.graph import open_source
from media.process import Progress, Runner, run_ffmpeg

SEGMENT_FORMATS: dict[str, AudioCodec] = {
    "wav": CODECS["pcm_s16le"],
    "flac": CODECS["flac"],
    "mp3": CODECS["mp3"],
    "aac": AudioCodec("aac", ".aac", "adts", CODECS["aac"].sample_rates),
    "m4a": CODECS["aac"],
}
"""What a segment may be written as."""

_BATCH = 32


@dataclass(frozen=True)
class Concurrency:
    """How hard to work."""

    workers: int = 8
    """The most ffmpeg processes at a time; never more than the machine has processors."""
    timeout_seconds: float = 600.0
    """For all of the encoding; what is not done by then counts as failed."""

    def at_once(self) -> int:
        """Return how many processes really run at a time."""
        return max(1, min(self.workers, os.cpu_count() or 1))


async def encode_all(
    runner: Runner,
    waves: Sequence[Path],
    codec: AudioCodec,
    concurrency: Concurrency,
    progress: Progress | None = None,
) -> list[Path | None]:
    """Encode each WAV beside itself and remove it; None stands for one that could not be encoded."""
    batches = [waves[first : first + _BATCH] for first in range(0, len(waves), _BATCH)]
    free = asyncio.Semaphore(concurrency.at_once())
    done = 0

    async def encode(batch: Sequence[Path]) -> None:
        nonlocal done
        async with free:
            with contextlib.suppress(MediaFault):
                await _encode_batch(runner, batch, codec)
            done += len(batch)
            if progress:
                await progress(done / len(waves))

    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(concurrency.timeout_seconds), asyncio.TaskGroup() as group:
            for batch in batches:
                group.create_task(encode(batch))
    return [_result(wave, codec) for wave in waves]


async def _encode_batch(runner: Runner, waves: Sequence[Path], codec: AudioCodec) -> None:
    how = {"c:a": codec.encoder, "f": codec.muxer}
    outputs = [ffmpeg.output(open_source(wave).audio, str(_partial(wave, codec)), **how) for wave in waves]
    await run_ffmpeg(runner, ffmpeg.compile(ffmpeg.merge_outputs(*outputs))[1:])
    # Only what a run that ended well has written may carry its final name.
    for wave in waves:
        _partial(wave, codec).rename(wave.with_suffix(codec.suffix))


def _partial(wave: Path, codec: AudioCodec) -> Path:
    return wave.with_suffix(codec.suffix + ".part")


def _result(wave: Path, codec: AudioCodec) -> Path | None:
    wave.unlink()
    _partial(wave, codec).unlink(missing_ok=True)
    target = wave.with_suffix(codec.suffix)
    return target if target.exists() and target.stat().st_size else None
