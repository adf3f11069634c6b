"""Recordings for `bench.quality.text_sync` on which nothing of the synchroniser was ever chosen.

What begins when is known by the way they are made. The meetings of ../shared/media/diar do not serve: in half a minute of them
there are three pauses.
"""

from __future__ import annotations

import subprocess
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from subtitles.cue import Cue

MEDIA = Path(__file__).resolve().parents[3] / "shared" / "media"
_RATE = 16_000
_FRAME = _RATE // 50
_QUIET_DB = -32.0
"""Of a clip's loudest 20 ms, below which nobody speaks in it."""
_HUM_DB = 6.0
"""Over a clip's quietest 20 ms, up to which a room hums: a third of a second of hum before a word is not its beginning."""
_PAUSE_FRAMES = 18
_CLIPS = (
    "asr/librispeech_61-70968-0000.flac",
    "asr/jfk.flac",
    "asr/common_voice_ja_24511055.mp3",
    "asr/chinese.wav",
    "vad/s.wav",
)


@dataclass(frozen=True)
class Material:
    """A recording and when its lines begin and end."""

    name: str
    sound: Path
    cues: list[Cue]


def fresh_material(folder: Path) -> list[Material]:
    """Return the recordings: readings put together in three orders, one of them in noise, one with short pauses."""
    clips = [part for name in _CLIPS for part in _phrases(_samples(MEDIA / name))]
    return [
        _readings("readings", clips, folder, seed=5, noise_db=-60.0),
        _readings("readings_noise", clips, folder, seed=8, noise_db=-20.0),
        _readings("readings_short_pauses", clips, folder, seed=11, noise_db=-60.0, longest_pause=1.5),
    ]


def _samples(path: Path) -> np.ndarray[Any, Any]:
    done = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", path, "-f", "f32le", "-ar", str(_RATE), "-ac", "1", "-"],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    samples = np.frombuffer(done.stdout, "<f4")
    level: np.ndarray[Any, Any] = samples / max(1e-6, float(np.abs(samples).max())) * 0.6
    return level


def _phrases(samples: np.ndarray[Any, Any]) -> Iterator[np.ndarray[Any, Any]]:
    """Cut a clip at its pauses; each phrase begins with its first sound over the hum of the clip's room."""
    frames = samples[: len(samples) // _FRAME * _FRAME].reshape(-1, _FRAME)
    power = np.mean(frames**2, axis=1)
    hum = float(np.percentile(power, 5)) * 10 ** (_HUM_DB / 10)
    spoken = np.flatnonzero(power > max(power.max() * 10 ** (_QUIET_DB / 10), hum))
    for group in np.split(spoken, np.flatnonzero(np.diff(spoken) > _PAUSE_FRAMES) + 1):
        if len(group) > 12:
            yield samples[group[0] * _FRAME : (group[-1] + 1) * _FRAME]


def _readings(
    name: str,
    clips: list[np.ndarray[Any, Any]],
    folder: Path,
    *,
    seed: int,
    noise_db: float,
    longest_pause: float = 3.0,
) -> Material:
    """Put phrases one after the other, every one twice, with pauses of a third of a second to the longest."""
    chance = np.random.default_rng(seed)
    order = [*chance.permutation(len(clips)), *chance.permutation(len(clips))]
    pieces: list[np.ndarray[Any, Any]] = []
    cues: list[Cue] = []
    clock = 0.0
    for place in order:
        pause = float(chance.uniform(0.35, longest_pause))
        pieces += [np.zeros(int(pause * _RATE), np.float32), clips[place]]
        start = clock + int(pause * _RATE) / _RATE
        clock = start + len(clips[place]) / _RATE
        cues.append(Cue(start, clock, f"phrase {place}"))
    whole = np.concatenate([*pieces, np.zeros(_RATE, np.float32)])
    whole = whole + chance.normal(0, 10 ** (noise_db / 20) * 0.2, len(whole))
    sound = folder / f"{name}.wav"
    with wave.open(str(sound), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(_RATE)
        out.writeframes((np.clip(whole, -1, 1) * 32767).astype("<i2").tobytes())
    return Material(name, sound, cues)
