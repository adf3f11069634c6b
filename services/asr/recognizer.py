"""Recognizer: the interface behind which every engine stands. An engine hears windows; what windows are it does not know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from services.asr.options import Decode
from services.asr.sound import Samples
from services.asr.transcript import UNKNOWN, Decoding, Word


@dataclass(frozen=True, slots=True)
class HeardWindow:
    """What an engine heard in one window; times are seconds in the window."""

    words: tuple[Word, ...]
    decoding: Decoding = UNKNOWN
    tokens: tuple[tuple[int, ...], ...] = ()
    """The engine's own tokens of each word; empty: it has none."""

    @property
    def text(self) -> str:
        """The words as they are written."""
        return "".join(word.text for word in self.words).strip()


class Recognizer(Protocol):
    """A loaded engine with its model."""

    engine: str
    """Its name."""
    model: str
    """Name of its model."""
    languages: frozenset[str]
    """Codes of the languages that it knows."""
    window_seconds: float
    """The longest window that it hears whole."""
    side_by_side: int
    """Windows that it hears as fast as one."""

    def guess_language(self, samples: Samples) -> tuple[str, float]:
        """Return the likeliest language of some speech and its probability."""

    def hear(
        self, windows: Sequence[Samples], language: str, decode: Decode, context: str = ""
    ) -> list[HeardWindow]:
        """Hear windows of one language, at once; `context` is what was said before the first."""
