"""ffmpeg's part: any media to plain float samples, and these to files, rate, channels and length kept."""

from __future__ import annotations

from pathlib import Path

from media.faults import FaultCode, MediaFault
from media.probe import AudioStream, probe
from media.process import Progress, Runner, run_ffmpeg
from media.promise import cut_off
from media.source import address, check_not_empty, lock_arguments
from services.separate.blocks import count_samples

ENCODERS = {
    "flac": (".flac", ["-c:a", "flac", "-sample_fmt", "s32", "-bits_per_raw_sample", "24"]),
    "wav": (".wav", ["-c:a", "pcm_f32le"]),
    "mp3": (".mp3", ["-c:a", "libmp3lame", "-q:a", "2"]),
}
"""Suffix and options of each output format; flac has 24 bits, wav 32-bit floats."""
MAX_CHANNELS = {"flac": 8, "wav": 64, "mp3": 2}


async def decode(
    runner: Runner, source: Path, target: Path, stream_index: int | None, progress: Progress | None = None
) -> tuple[AudioStream, tuple[str, ...]]:
    """Write an audio stream's samples as they are, interleaved 32-bit floats; returns warnings besides. Raises MediaFault."""
    check_not_empty(source)
    facts = await probe(runner, source)
    stream = facts.audio(stream_index)
    arguments = [
        *lock_arguments(),
        "-i",
        address(source),
        "-map",
        f"0:{stream.index}",
        *_raw(stream.sample_rate, stream.channels),
    ]
    await run_ffmpeg(
        runner, [*arguments, address(target)], progress=progress, span_seconds=lambda: facts.duration_seconds
    )
    samples = count_samples(target, stream.channels)
    if samples == 0:
        raise MediaFault(
            FaultCode.OUTPUT_EMPTY, f"audio stream {stream.index} of {facts.name} holds no sound"
        )
    begins = facts.begins_seconds(stream)
    return stream, await cut_off(runner, source, facts, stream, samples / stream.sample_rate, begins)


async def resample(
    runner: Runner,
    source: Path,
    target: Path,
    channels: int,
    rates: tuple[int, int],
    channels_out: int | None = None,
) -> Path:
    """Write plain samples at another rate: `rates` from, to. The same rate and channels give the file itself."""
    if rates[0] == rates[1] and channels_out in (None, channels):
        return source
    made = _raw(rates[1], channels_out or channels)
    await run_ffmpeg(runner, [*_given(source, rates[0], channels), *made, address(target)])
    return target


async def encode(
    runner: Runner, source: Path, target: Path, sample_rate: int, channels: int, output_format: str
) -> Path:
    """Write plain samples as a file that people play."""
    options = ENCODERS[output_format][1]
    await run_ffmpeg(runner, [*_given(source, sample_rate, channels), *options, address(target)])
    return target


def _given(source: Path, sample_rate: int, channels: int) -> list[str]:
    return ["-f", "f32le", "-ar", str(sample_rate), "-ac", str(channels), "-i", address(source)]


def _raw(sample_rate: int, channels: int) -> list[str]:
    return ["-vn", "-ar", str(sample_rate), "-ac", str(channels), "-c:a", "pcm_f32le", "-f", "f32le"]
