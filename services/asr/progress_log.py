"""What a transcription has so far: kept in memory for a worker that died, and in a checkpoint for a node that did.

A checkpoint has at most 64 KiB, so that it holds compressed segments up to where they fit; what comes behind is heard again.
"""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass, field
from typing import Any

import orjson

from services.asr.segments import Figures, Heard, HeardWord
from services.asr.whisper_items import Plan, WindowDone

_MAX_BYTES = 60_000


@dataclass
class ChannelLog:
    """One channel, as far as it is heard."""

    plan: Plan | None = None
    done: list[WindowDone] = field(default_factory=list)

    @property
    def heard_until(self) -> float:
        """Seconds up to which everything is heard."""
        return self.done[-1].end if self.done else 0.0


def to_checkpoint(channels: list[ChannelLog]) -> dict[str, Any]:
    """Return what fits, the first windows of each channel first."""
    share = _MAX_BYTES // max(1, len(channels))
    return {"version": 1, "channels": [_packed(channel.done, share) for channel in channels]}


def from_checkpoint(data: dict[str, Any] | None, channels: int) -> list[ChannelLog]:
    """Return what a checkpoint has; empty logs when there is none or it is of another kind."""
    empty = [ChannelLog() for _ in range(channels)]
    if not data or data.get("version") != 1 or len(data.get("channels", ())) != channels:
        return empty
    for log, packed in zip(empty, data["channels"], strict=True):
        log.done = [_window(row) for row in orjson.loads(zlib.decompress(base64.b85decode(packed)))]
    return empty


def _packed(done: list[WindowDone], limit: int) -> str:
    """Return as many of the first windows as fit, found by halving."""
    low, high, best = 0, len(done), _compress([])
    while low < high:
        middle = (low + high + 1) // 2
        packed = _compress(done[:middle])
        if len(packed) <= limit:
            low, best = middle, packed
        else:
            high = middle - 1
    return best


def _compress(done: list[WindowDone]) -> str:
    return base64.b85encode(zlib.compress(orjson.dumps([_row(one) for one in done]), 9)).decode()


def _row(one: WindowDone) -> list[Any]:
    segments = [
        [
            [[round(w.start, 3), round(w.end, 3), w.text, round(w.probability, 3)] for w in segment.words],
            [round(segment.start, 3), round(segment.end, 3), segment.text, segment.seek],
            [
                segment.figures.language,
                round(segment.figures.language_probability, 4),
                round(segment.figures.avg_logprob, 4),
                round(segment.figures.no_speech_prob, 4),
                round(segment.figures.compression_ratio, 4),
                segment.figures.temperature,
            ],
        ]
        for segment in one.segments
    ]
    return [
        one.number,
        one.end,
        segments,
        [list(row) for row in one.languages],
        one.repeated,
        one.dropped_words,
    ]


def _window(row: list[Any]) -> WindowDone:
    number, end, segments, languages, repeated, dropped = row
    heard = tuple(
        Heard(start, until, text, tuple(HeardWord(*word) for word in words), Figures(*figures), seek=seek)
        for words, (start, until, text, seek), figures in segments
    )
    return WindowDone(
        number, end, heard, tuple((name, seconds) for name, seconds in languages), repeated, dropped
    )
