"""Speech heard again by a recogniser, to tell what was cut off, repeated or garbled. Runs in a worker process.

This node brings its own small listener, since a node calls no other node; the model is the one that the node that hears uses.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from subtitles.measure import is_cjk
from subtitles.score import character_score, normalise, word_score

MODEL = "faster-whisper-base"
MAX_ERROR_RATE = 0.35
"""Errors of recogniser and speaker together, below which speech counts as what was to be said: good speech has 0.05 to 0.15."""

_SHORT, _SHORT_ERRORS = 6, 2
"""A text of so few words (or characters) gives a recogniser no context: so many of them may be heard wrongly."""


@dataclass(frozen=True)
class Heard:
    """What was heard."""

    text: str
    error_rate: float
    """Words wrong (characters for Chinese and Japanese) for each of the text; the text's figures count as they are spoken."""
    length_ratio: float
    """Letters heard for each letter that was to be said: far from 1 when something was cut off or said twice."""

    length: int = 1000
    """Words (characters) of the text."""

    @property
    def right(self) -> bool:
        """Whether it is what was to be said."""
        few = self.length <= _SHORT and self.error_rate * self.length <= _SHORT_ERRORS + 1e-3
        return (few or self.error_rate <= MAX_ERROR_RATE) and 0.6 <= self.length_ratio <= 1.5


def load(folder: Path, threads: int) -> Any:
    """Load the recogniser."""
    from faster_whisper import WhisperModel

    return WhisperModel(
        str(folder), device="cpu", compute_type="int8", cpu_threads=threads, local_files_only=True
    )


def hear(model: Any, path: Path, expected: str, language: str) -> Heard:
    """Hear a file and compare it with the text that it should say."""
    segments, _ = model.transcribe(
        str(path), language=language, beam_size=5, condition_on_previous_text=False, vad_filter=True
    )
    text = "".join(segment.text for segment in segments).strip()
    return compare(expected, text)


def compare(expected: str, heard: str) -> Heard:
    """Return how far what was heard is from the text."""
    wanted, given = expected, heard
    if is_cjk(expected):
        from opencc import OpenCC

        from services.tts.text.chinese import read_figures

        simplify = OpenCC("t2s").convert
        wanted, given = (simplify(read_figures(text)) for text in (expected, heard))
        score = character_score(wanted, given)
    else:
        score = word_score(wanted, given)
    lengths = [len(normalise(text).replace(" ", "")) for text in (wanted, given)]
    return Heard(heard, round(score.rate, 4), round(lengths[1] / max(1, lengths[0]), 4), score.length)
