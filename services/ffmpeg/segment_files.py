"""Cuts one decoded recording into many WAV files by copying samples: the file is decoded once, whatever the number of segments."""

from __future__ import annotations

import re
import wave
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from media.pcm import SAMPLE_BYTES, LevelSum, Samples
from services.ffmpeg.cuts import Cut, CutRules, Plan, plan_cuts
from services.ffmpeg.silences import SoundProfile
from services.ffmpeg.subtitle_times import Cue

_UNSAFE = re.compile(r"[^\w.-]+")
_BLOCK_FRAMES = 1 << 18


@dataclass(frozen=True)
class Recording:
    """Interleaved 16-bit samples without a header."""

    path: Path
    sample_rate: int
    channels: int

    def samples(self) -> Samples:
        """Return the samples, shape (frames, channels), left on disk until they are looked at."""
        frames = self.path.stat().st_size // (SAMPLE_BYTES * self.channels)
        if not frames:
            return np.zeros((0, self.channels), dtype=np.int16)
        # The page cache holds what is read; the process does not.
        return np.memmap(self.path, dtype="<i2", mode="r", shape=(frames, self.channels))

    def remove(self) -> None:
        """Free the disk."""
        self.path.unlink(missing_ok=True)


@dataclass(frozen=True)
class SegmentFile:
    """One segment on disk."""

    id: int
    """Its number, from 1."""
    cut: Cut
    name: PurePosixPath
    """Where it lies in the output folder, without its suffix."""
    frames: int
    rms_db: float | None


def cut_recording(
    recording: Recording, cues: list[Cue], rules: CutRules, by_speaker: bool, folder: Path
) -> tuple[Plan, list[SegmentFile]]:
    """Plan the cuts and write each as `<name>.wav` under `folder`.

    Blocking: run it in a process of its own. Starts and ends are exact to one sample.
    """
    samples = recording.samples()
    plan = plan_cuts(cues, SoundProfile(samples, recording.sample_rate), rules)
    written = []
    for number, cut in enumerate(plan.cuts, start=1):
        name = _name(number, cut.cue.speaker, by_speaker)
        first, last = (round(edge * recording.sample_rate) for edge in (cut.start, cut.end))
        written.append(_write(number, cut, name, samples[first:last], recording, folder))
    return plan, written


def _write(
    number: int, cut: Cut, name: PurePosixPath, samples: Samples, recording: Recording, folder: Path
) -> SegmentFile:
    path = folder / f"{name}.wav"
    path.parent.mkdir(parents=True, exist_ok=True)
    total = LevelSum()
    with wave.open(str(path), "wb") as file:
        file.setnchannels(recording.channels)
        file.setsampwidth(SAMPLE_BYTES)
        file.setframerate(recording.sample_rate)
        for first in range(0, len(samples), _BLOCK_FRAMES):
            block = samples[first : first + _BLOCK_FRAMES]
            total.add(block.reshape(-1))
            file.writeframes(block.tobytes())
    levels = total.levels(recording.channels)
    return SegmentFile(number, cut, name, levels.frames, levels.rms_db)


def _name(number: int, speaker: str | None, by_speaker: bool) -> PurePosixPath:
    safe = safe_name(speaker) if speaker else None
    stem = f"segment_{number:03d}" + (f"_{safe}" if safe else "")
    return (
        PurePosixPath("by_speaker", safe or "UNKNOWN", stem)
        if by_speaker
        else PurePosixPath("segments", stem)
    )


def safe_name(speaker: str) -> str:
    """Return a speaker's label as a folder name."""
    return _UNSAFE.sub("_", speaker).strip("._")[:64] or "UNKNOWN"
