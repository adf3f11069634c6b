"""A recogniser that hears tones: what it says follows from the samples, so that every law of the way there can be checked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from services.asr.options import Decode
from services.asr.recognizer import HeardWindow
from services.asr.sound import RATE, Samples, Sound
from services.asr.transcript import UNKNOWN, Decoding, Word


class ToneRecognizer:
    """Says one word for each half second of a window; its language is told by how loud the window is."""

    engine = "tones"
    model = "tones-large"
    window_seconds = 28.0
    side_by_side = 1

    def __init__(
        self, decoding: Decoding = UNKNOWN, languages: frozenset[str] = frozenset({"en", "de"})
    ) -> None:
        self.languages = languages
        self.decoding = decoding
        self.batches: list[tuple[str, int, str]] = []
        """Language, size and context of every call."""

    def guess_language(self, samples: Samples) -> tuple[str, float]:
        return ("de" if float(np.abs(samples).max()) > 0.5 else "en"), 0.95

    def hear(
        self, windows: Sequence[Samples], language: str, decode: Decode, context: str = ""
    ) -> list[HeardWindow]:
        self.batches.append((language, len(windows), context))
        return [HeardWindow(self._words(len(samples) / RATE), self.decoding) for samples in windows]

    def _words(self, seconds: float) -> tuple[Word, ...]:
        count = max(1, int(seconds * 2))
        return tuple(
            Word(number / 2, min(seconds, number / 2 + 0.4), f" w{number}", 0.9) for number in range(count)
        )


def sound_of(folder: Path, samples: Samples, channels: int = 1) -> Sound:
    """Write samples (−1 to 1, interleaved) as a sound."""
    path = folder / "made.s16"
    (samples * 32767).astype("<i2").tofile(path)
    return Sound(path, channels)


def noise(seconds: float, level: float = 0.3) -> Samples:
    """Return noise, the same every time."""
    generator = np.random.default_rng(7)
    return (generator.uniform(-level, level, round(seconds * RATE))).astype(np.float32)
