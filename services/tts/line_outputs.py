"""What `indextts.speak_lines` gives."""

from __future__ import annotations

from nodekit import MediaRef, TaskOutput


class DubbedLine(TaskOutput):
    """One line as it is heard now. Times are seconds of the film."""

    id: int
    """Its number, from 1."""
    speaker: str
    """Who says it."""
    voice: str
    """In which voice."""
    text: str
    """What was to be said."""
    spoken_text: str
    """What is said: the same, unless it had to be shorter."""
    start: float
    """Where it begins."""
    end: float
    """Where it ends now."""
    slot_end: float
    """Where it ends in the original."""
    limit: float
    """Until when it may go on."""
    tempo: float
    """By how much it was sped up."""
    overrun_ms: float
    """How far it goes on behind its limit."""


class SpeakLinesOutput(TaskOutput):
    """The film's lines on one track."""

    audio_path: MediaRef
    """The track: WAV, one channel, as long as the film, silent where nobody speaks."""
    lines_file: MediaRef
    """JSON `{lines: [...]}` of every line as below."""
    lines: list[DubbedLine]
    """The lines; the first 500."""
    total_lines: int
    """Lines."""
    voices: dict[str, str]
    """The voice of each speaker."""
    duration: float
    """Seconds of the track."""
    shortened_lines: int
    """Lines that are said in fewer words."""
    borrowing_lines: int
    """Lines that go on into the pause behind them."""
    overrun_p95_ms: float
    """How far lines go on behind their limit: 19 of 20 by no more than this."""
    overrun_max_ms: float
    """The same of the worst line."""
    engine: str
    """Engine, with its version."""
    model: str
    """Model and revision."""
    license: str
    """Terms of the voices' weights."""
    resumed_lines: int
    """Lines that an earlier attempt had spoken."""
    load_seconds: float
    """Seconds that loading voices took."""
    processing_time: float
    """Seconds that speaking took."""
    warnings: list[str]
    """What could not be done as asked."""
