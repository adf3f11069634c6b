"""Voices, music and noise at known levels, and figures of what was made of them."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Signal = NDArray[np.float32]

TEXT = (
    "The train to the coast leaves at a quarter past nine from platform four. "
    "I would rather wait until the rain has stopped if you do not mind. "
    "Nobody told me that the library closes so early on a Thursday."
)


@cache
def speech(rate: int, voice: str = "slt", text: str = TEXT) -> Signal:
    """A flite voice at a rate, mono, root mean square 0.1."""
    source = f"flite=voice={voice}:text='{text}'"
    argv = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", source, "-ar", str(rate), "-f", "f32le", "-"]
    spoken = np.frombuffer(subprocess.run(argv, capture_output=True, check=True).stdout, np.float32)
    return leveled(spoken, 0.1)


def music(rate: int, samples: int, seed: int = 0) -> Signal:
    """A loop of 2 s: bass, three voices of a chord and a hat, mono, root mean square 0.1."""
    chance = np.random.default_rng(seed)
    size, beat = 2 * rate, rate // 4
    loop = np.zeros(size)
    for place in range(8):
        time = np.arange(beat) / rate
        bass = np.sin(2 * np.pi * (55, 65.4, 73.4, 49)[place // 2] * time) * np.exp(-3 * time)
        chord = sum(np.sin(2 * np.pi * pitch * time) for pitch in (220, 261.6, 329.6)) * np.exp(-2 * time)
        hat = chance.standard_normal(beat) * np.exp(-time * 60)
        loop[place * beat : (place + 1) * beat] += bass + 0.3 * chord + 0.4 * hat
    return leveled(np.resize(loop, samples), 0.1)


def pink(samples: int, seed: int = 0) -> Signal:
    """Noise of equal power in each octave, root mean square 0.1."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(samples))
    spectrum /= np.sqrt(np.maximum(np.arange(len(spectrum)), 1))
    return leveled(np.fft.irfft(spectrum, samples), 0.1)


def leveled(signal: NDArray[np.floating], level: float) -> Signal:
    """The signal at a root mean square."""
    return np.asarray(signal * (level / np.sqrt((signal.astype(float) ** 2).mean())), np.float32)


def si_sdr_db(truth: Signal, estimate: Signal) -> float:
    """Scale-invariant signal to distortion ratio in dB (Le Roux et al. 2019)."""
    truth, estimate = truth - truth.mean(), estimate - estimate.mean()
    wanted = truth * float(np.dot(truth, estimate) / np.dot(truth, truth))
    return float(10 * np.log10((wanted**2).sum() / ((estimate - wanted) ** 2).sum()))


def write(path: Path, sound: Signal, rate: int, codec: str = "pcm_f32le") -> Path:
    """Write samples, shape (samples,) or (samples, channels)."""
    channels = 1 if sound.ndim == 1 else sound.shape[1]
    given = ["-f", "f32le", "-ar", str(rate), "-ac", str(channels), "-i", "-"]
    subprocess.run(
        ["ffmpeg", "-v", "error", "-y", *given, "-c:a", codec, str(path)],
        input=np.ascontiguousarray(sound, "<f4").tobytes(),
        check=True,
    )
    return path


def read(path: Path) -> tuple[Signal, int]:
    """Samples, shape (samples, channels), and rate of a file."""
    shown = subprocess.run(
        [
            "ffprobe",
            "-v",
            "error",
            "-select_streams",
            "a:0",
            "-show_entries",
            "stream=sample_rate,channels",
            "-of",
            "csv=p=0",
            str(path),
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    rate, channels = (int(word) for word in shown.split(",")[:2])
    body = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", str(path), "-map", "a:0", "-f", "f32le", "-"],
        capture_output=True,
        check=True,
    ).stdout
    return np.frombuffer(body, np.float32).reshape(-1, channels), rate
