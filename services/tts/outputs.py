"""What the tasks give. Times are seconds."""

from __future__ import annotations

from typing import Any

from nodekit import MediaRef, TaskOutput


class SentenceTime(TaskOutput):
    """When a sentence is said."""

    text: str
    """The sentence."""
    start: float
    """Seconds in the file."""
    end: float
    """Seconds in the file."""
    voice: str
    """Who says it."""


class GenerateSpeechOutput(TaskOutput):
    """The speech."""

    audio_path: MediaRef
    """The file."""
    output_path: MediaRef
    """The same, by the origin's older name."""
    status: str
    """success."""
    duration: float
    """Seconds."""
    text_length: int
    """Characters."""
    sample_rate: int
    """Samples a second."""
    engine: str
    """Engine, with its version."""
    model: str
    """Model and revision."""
    license: str
    """Terms of the voice's weights."""
    voice: str
    """Who speaks; several are separated by commas."""
    language: str
    """Language."""
    loudness_lufs: float
    """Integrated loudness of the file."""
    true_peak_db: float
    """Highest peak, in dBTP."""
    tempo: float
    """By how much the speech was sped up to last as long as asked; 1: not at all."""
    duration_error: float | None
    """(duration - target) / target; null without a target."""
    load_seconds: float
    """Seconds that loading took; 0 when the voice was loaded."""
    processing_time: float
    """Seconds that speaking took."""
    sentences: list[SentenceTime]
    """When each sentence is said; the first 1,000."""
    sentences_file: MediaRef
    """JSON of all of them."""
    verified: bool
    """Whether it was heard again."""
    heard_text: str
    """What was heard; empty unless verified."""
    error_rate: float | None
    """Share of words (for Chinese: characters) that were heard wrongly; null unless verified."""
    warnings: list[str]
    """What was asked for and has no effect."""


class ListVoicePresetsOutput(TaskOutput):
    """The voices."""

    status: str
    """success."""
    presets: dict[str, dict[str, Any]]
    """By name: `{name, description, language, gender, engine, available}`."""
    total_count: int
    """Voices."""


class GetModelInfoOutput(TaskOutput):
    """The engines."""

    status: str
    """success."""
    model_info: dict[str, Any]
    """What `auto` uses, and what it can."""
    engines: list[dict[str, Any]]
    """Every engine: `{name, model, license, available, why_not}`."""


class HealthCheckOutput(TaskOutput):
    """How the node is."""

    status: str
    """healthy, or degraded when no voice is there."""
    service: str
    """tts."""
    gpu: dict[str, Any]
    """`{available, count, name}`: no engine here uses one."""
    model: str
    """ready or missing."""
    gpu_lock: str
    """not_used."""
