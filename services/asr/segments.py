"""Heard: words with times made into segments, without those that were heard where nobody speaks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from services.asr.speech import Span

PAUSE_SECONDS = 0.6
MAX_SEGMENT_SECONDS = 15.0
_TOLERANCE_SECONDS = 0.3
"""How far outside of speech a word may lie: recognition's times are about as exact as that."""
_SENTENCE_END = (".", "!", "?", "…", "。", "！", "？")


@dataclass(frozen=True, slots=True)
class HeardWord:
    """One word."""

    start: float
    end: float
    text: str
    probability: float
    aligned: bool = True
    """False: the recogniser gave no time, and it lies between its neighbours by guess."""


@dataclass(frozen=True)
class Figures:
    """What the recogniser says about a window."""

    language: str
    language_probability: float
    avg_logprob: float
    no_speech_prob: float
    compression_ratio: float
    temperature: float = 0.0


@dataclass(frozen=True)
class Heard:
    """One segment."""

    start: float
    end: float
    text: str
    words: tuple[HeardWord, ...]
    figures: Figures
    tokens: tuple[int, ...] = field(default=())
    seek: int = 0
    channel: int = 0

    def to_json(self, number: int, *, words: bool) -> dict[str, Any]:
        """Return the segment as the origin's file has it, numbered from 0."""
        figures = self.figures
        body: dict[str, Any] = {
            "id": number,
            "seek": self.seek,
            "start": round(self.start, 3),
            "end": round(self.end, 3),
            "text": self.text,
            "tokens": list(self.tokens),
            "temperature": figures.temperature,
            "avg_logprob": round(figures.avg_logprob, 4),
            "compression_ratio": round(figures.compression_ratio, 4),
            "no_speech_prob": round(figures.no_speech_prob, 4),
            "language": figures.language,
            "language_probability": round(figures.language_probability, 4),
        }
        if self.channel:
            body["speaker"] = f"CHANNEL_{self.channel}"
        if words:
            body["words"] = [
                {
                    "word": word.text,
                    "start": round(word.start, 3),
                    "end": round(word.end, 3),
                    "probability": round(word.probability, 4),
                    **({} if word.aligned else {"aligned": False}),
                }
                for word in self.words
            ]
        return body


def within_speech(words: Sequence[HeardWord], spans: Sequence[Span]) -> Iterator[HeardWord]:
    """Give the words that lie in speech, with their times trimmed to it; the others were invented.

    A word may reach 0.3 s out of speech. One that begins in a pause begins where speech does, and one that ends in a pause ends
    where speech did: recognisers stretch words over silence.
    """
    for word in words:
        best = max(spans, key=lambda span: _near(word, span), default=None)
        if best is None or _near(word, best) < -_TOLERANCE_SECONDS:
            continue
        start = max(word.start, best.start - 0.05)
        end = min(word.end, best.end + 0.1)
        if end - start < 0.02:
            start = min(max(word.start, best.start), best.end)
            end = max(start + 0.02, min(word.end, best.end + 0.1))
        yield replace(word, start=start, end=end)


def _near(word: HeardWord, span: Span) -> float:
    """Return the seconds that a word and a span share; below zero the distance between them."""
    return min(word.end, span.end) - max(word.start, span.start)


def in_order(words: Sequence[HeardWord]) -> list[HeardWord]:
    """Return words none of which begins before the one before it ends, without changing their order."""
    ordered: list[HeardWord] = []
    for word in words:
        start = max(word.start, ordered[-1].end) if ordered else word.start
        ordered.append(replace(word, start=start, end=max(word.end, start)))
    return ordered


def to_segments(words: Sequence[HeardWord], figures: Figures, offset: float) -> Iterator[Heard]:
    """Give segments: cut at pauses and sentences' ends, none longer than 15 s."""
    group: list[HeardWord] = []
    for word in words:
        if group and _cuts(group, word):
            yield _segment(group, figures, offset)
            group = []
        group.append(word)
    if group:
        yield _segment(group, figures, offset)


def _cuts(group: Sequence[HeardWord], word: HeardWord) -> bool:
    pause = word.start - group[-1].end
    long = word.end - group[0].start
    ended = group[-1].text.rstrip().endswith(_SENTENCE_END)
    return pause >= PAUSE_SECONDS or long > MAX_SEGMENT_SECONDS or (ended and long > 2.0)


def _segment(group: Sequence[HeardWord], figures: Figures, offset: float) -> Heard:
    text = "".join(word.text for word in group).strip()
    return Heard(group[0].start, group[-1].end, text, tuple(group), figures, seek=int(offset * 100))
