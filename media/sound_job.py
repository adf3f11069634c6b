"""What the process that decodes a track is told and tells. Here and not with the decoder: the node never loads that library."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SoundJob:
    """What to take; times in seconds on the film's clock."""

    source: str
    target: str
    stream_index: int
    origin_seconds: float
    """The container time that is the film's time zero."""
    has_free_clock: bool
    sample_rate: int
    channels: int
    wave: bool
    """Whether a WAV is written; else samples without a header."""
    start_seconds: float = 0.0
    end_seconds: float | None = None
    keep_offset: bool = True
    apart: bool = False
    """Whether channels are kept as they are, the first ones first, and none is mixed into another."""
    expected_seconds: float | None = None
    """How long the track probably is, for progress."""


@dataclass(frozen=True)
class SoundReport:
    """What came of it."""

    end_seconds: float
    """Where the track ends, on the film's clock."""
    first_seconds: float | None
    """Where its first sample is; None: it has none."""
    refused: int
    """Packets that the decoder could make nothing of."""
    breaks: int
    """How often the clock breaks."""
