"""Where somebody speaks: spans found by Silero VAD, and the windows that they are recognised in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from services.asr.decoding import SAMPLE_RATE

if TYPE_CHECKING:
    from services.asr.sound import Sound

_BLOCK_SECONDS = 300.0
MAX_WINDOW_SECONDS = 28.0
"""A little less than the 30 s that Whisper hears at once, since padded speech must fit."""
MAX_INNER_SILENCE_SECONDS = 2.0
"""A window goes on over a pause shorter than this; Whisper invents text in longer ones."""
LANGUAGE_PIECE_SECONDS = 12.0
"""Length of the pieces in which languages are told when a window has more than one."""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a recording, in seconds."""

    start: float
    end: float

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.end - self.start


@dataclass(frozen=True)
class VadOptions:
    """What decides whether it is speech; names as in faster-whisper."""

    threshold: float = 0.5
    neg_threshold: float | None = None
    min_speech_duration_ms: int = 100
    max_speech_duration_s: float = float("inf")
    min_silence_duration_ms: int = 300
    speech_pad_ms: int = 200


@dataclass(frozen=True)
class Window:
    """What is recognised at once: audio of at most 28 s, and the speech in it."""

    start: float
    end: float
    spans: tuple[Span, ...]

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.end - self.start

    @property
    def speech_seconds(self) -> float:
        """Seconds of speech in it."""
        return sum(span.duration for span in self.spans)


def find_speech(sound: Sound, options: VadOptions, clips: Sequence[Span]) -> list[Span]:
    """Return the speech of the clips, in order. Reads a few minutes at a time."""
    from faster_whisper import vad  # in the worker alone: an idle node stays small

    settings: dict[str, Any] = {
        "threshold": options.threshold,
        "neg_threshold": options.neg_threshold,
        "min_speech_duration_ms": options.min_speech_duration_ms,
        "max_speech_duration_s": options.max_speech_duration_s,
        "min_silence_duration_ms": options.min_silence_duration_ms,
        "speech_pad_ms": 0,
    }
    found: list[Span] = []
    for clip in clips:
        for start, end in _blocks(clip):
            samples = sound.between(start, end)
            if len(samples) == 0:
                continue
            for row in vad.get_speech_timestamps(samples, vad.VadOptions(**settings), SAMPLE_RATE):
                found.append(Span(start + row["start"] / SAMPLE_RATE, start + row["end"] / SAMPLE_RATE))
    return _joined(found, options.min_silence_duration_ms / 1000)


def _blocks(clip: Span) -> Iterator[tuple[float, float]]:
    start = clip.start
    while start < clip.end:
        yield start, min(start + _BLOCK_SECONDS, clip.end)
        start += _BLOCK_SECONDS


def _joined(spans: Sequence[Span], min_silence: float) -> list[Span]:
    """Join spans that a block's end has cut."""
    joined: list[Span] = []
    for span in spans:
        if joined and span.start - joined[-1].end < min_silence / 2:
            joined[-1] = Span(joined[-1].start, max(joined[-1].end, span.end))
        else:
            joined.append(span)
    return joined


def to_windows(
    spans: Sequence[Span], pad_seconds: float, clips: Sequence[Span], max_seconds: float = MAX_WINDOW_SECONDS
) -> list[Window]:
    """Group spans into windows: as full as possible, cut in the longest pauses, never over a long silence.

    Speech without a pause for longer than a window is cut where the window is full.
    """
    groups: list[list[Span]] = []
    for span in _cut_long(spans, max_seconds - 2 * pad_seconds):
        last = groups[-1] if groups else None
        if (
            last is not None
            and span.start - last[-1].end <= MAX_INNER_SILENCE_SECONDS
            and span.end - last[0].start + 2 * pad_seconds <= max_seconds
        ):
            last.append(span)
        else:
            groups.append([span])
    windows = []
    for place, group in enumerate(groups):
        clip = next(
            (clip for clip in clips if clip.start <= group[0].start < clip.end), Span(0.0, group[-1].end)
        )
        before = groups[place - 1][-1].end if place else clip.start
        after = groups[place + 1][0].start if place + 1 < len(groups) else clip.end
        # A pad never takes half of a pause: the neighbour's words would be heard twice.
        start = max(clip.start, group[0].start - min(pad_seconds, max(0.0, group[0].start - before) / 2))
        end = min(clip.end, group[-1].end + min(pad_seconds, max(0.0, after - group[-1].end) / 2))
        windows.append(Window(start, end, tuple(group)))
    return windows


def _cut_long(spans: Sequence[Span], max_seconds: float) -> Iterator[Span]:
    for span in spans:
        start = span.start
        while span.end - start > max_seconds:
            yield Span(start, start + max_seconds)
            start += max_seconds
        yield replace(span, start=start)


def split_window(window: Window, pad_seconds: float) -> list[Window]:
    """Return a window's speech in pieces of at most 12 s; a window that is one piece comes back alone."""
    clip = Span(window.start, window.end)
    return to_windows(window.spans, pad_seconds, [clip], LANGUAGE_PIECE_SECONDS)
