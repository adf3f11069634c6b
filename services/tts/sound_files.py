"""Samples as WAV files, and speech as one file: rate, loudness, length and form, by ffmpeg."""

from __future__ import annotations

import re
import wave
from dataclasses import dataclass
from pathlib import Path

from nodekit import TaskContext
from services.tts.faults import FaultCode, TtsFault

MIN_TEMPO, MAX_TEMPO = 0.85, 1.25
"""How much speech may be stretched before it sounds wrong."""
TRUE_PEAK_DB = -1.0
_CODECS = {
    "wav": ("-c:a", "pcm_s16le"),
    "flac": ("-c:a", "flac"),
    "mp3": ("-c:a", "libmp3lame", "-b:a", "128k"),
    "opus": ("-c:a", "libopus", "-b:a", "64k"),
    "m4a": ("-c:a", "aac", "-b:a", "128k"),
}
_MEASURED = re.compile(r"^\s*(I|Peak):\s*(-?[\d.]+|-inf|nan)\s", re.MULTILINE)


@dataclass(frozen=True)
class Level:
    """How loud a file is."""

    lufs: float
    """Integrated loudness (ITU-R BS.1770); -70 for silence."""
    true_peak_db: float


async def measure(context: TaskContext, path: Path) -> Level:
    """Measure a file's loudness. Raises TtsFault."""
    argv = [
        "ffmpeg",
        "-nostdin",
        "-hide_banner",
        "-i",
        f"file:{path}",
        "-af",
        "ebur128=peak=true:framelog=verbose",
        "-f",
        "null",
        "-",
    ]
    done = await context.run(argv)
    found = dict(_MEASURED.findall(done.stderr_tail[-4000:]))
    if done.returncode != 0 or "I" not in found:
        raise TtsFault(FaultCode.PROCESSING_ERROR, "ffmpeg cannot measure the speech")
    return Level(_number(found["I"]), _number(found.get("Peak", "-70")))


def _number(text: str) -> float:
    return -70.0 if text in ("-inf", "nan") else max(-70.0, float(text))


async def finish(
    context: TaskContext,
    source: Path,
    target: Path,
    *,
    tempo: float,
    gain_db: float,
    sample_rate: int,
    pad_seconds: float = 0.0,
) -> None:
    """Write the speech in its final form: stretched by `tempo`, louder by `gain_db` under a limit, padded with silence. Raises
    TtsFault.
    """
    filters = [f"atempo={tempo:.6f}"] if abs(tempo - 1) > 1e-3 else []
    if abs(gain_db) > 0.01:
        limit = 10 ** (TRUE_PEAK_DB / 20)
        # At four times the rate the limiter sees the peaks between samples too.
        filters += [
            f"volume={gain_db:.3f}dB",
            "aresample=192000",
            f"alimiter=limit={limit:.5f}:level=disabled:attack=2:release=30",
        ]
    filters.append(f"aresample={sample_rate}")
    if pad_seconds > 0:
        filters.append(f"apad=pad_dur={pad_seconds:.6f}")
    argv = [
        "ffmpeg", "-nostdin", "-v", "error", "-y", "-i", f"file:{source}", "-af", ",".join(filters), "-ac", "1",
        *_CODECS[target.suffix.lstrip(".")], f"file:{target}",
    ]  # fmt: skip
    done = await context.run(argv)
    if done.returncode != 0:
        lines = done.stderr_tail.strip().splitlines() or ["it says nothing"]
        raise TtsFault(FaultCode.PROCESSING_ERROR, f"ffmpeg cannot write the speech: {lines[-1]}")


def tempo_for(seconds: float, target_seconds: float | None, *, free: bool) -> float:
    """Return by how much speech must be sped up to last as long as asked; within 0.85 to 1.25 unless `free`."""
    if target_seconds is None or seconds <= 0:
        return 1.0
    tempo = seconds / target_seconds
    # ffmpeg's atempo takes half to hundredfold.
    return max(0.5, min(100.0, tempo)) if free else max(MIN_TEMPO, min(MAX_TEMPO, tempo))


def wav_seconds(path: Path) -> float:
    """Return how long a WAV file lasts."""
    with wave.open(str(path)) as source:
        return float(source.getnframes() / source.getframerate())
