"""What the tasks give."""

from __future__ import annotations

from typing import Literal

from nodekit import MediaRef, TaskOutput


class RunStatistics(TaskOutput):
    """What the work took."""

    execution_time: float
    """Seconds of separation, without decoding and loading."""
    load_time: float
    """Seconds that loading the engine took, whenever that was."""
    model_warm: bool
    """Whether it was loaded already."""
    realtime_factor: float
    """Seconds of separation for each second of the recording."""


class SoundFacts(TaskOutput):
    """What the stems are like: the same as the recording."""

    sample_rate: int
    """Samples per second of every channel."""
    channels: int
    samples: int
    """Of every channel."""
    duration: float
    """Seconds."""


class SeparateVocalsOutput(TaskOutput):
    """The stems of a recording."""

    vocal_audio: MediaRef
    """The voices."""
    instrumental_audio: MediaRef | None
    """What is left; voices and rest together are the recording. null: nothing was parted."""
    all_audio_files: list[MediaRef]
    """Both."""
    parted: bool
    """Whether it was parted; false: `vocal_audio` is the recording, as `only_when` asked."""
    model_used: str
    """The engine's weights and their version."""
    quality_mode: str
    engine: str
    """Which engine did it."""
    engine_reason: str
    """Why that one."""
    heard: dict[str, float] | None
    """Shares of the time with speech, singing and music, and `speech_over_music_db`, by how much it is louder while somebody speaks
    than while music plays alone; null: it was not asked."""
    gain: float
    """What both stems were multiplied by so that neither is cut off at full scale; 1 in nearly all cases."""
    vocal_level_db: float | None
    """Root mean square of the voices in dBFS; null: there are none."""
    instrumental_level_db: float | None
    """Root mean square of the rest in dBFS; null: there is none."""
    device: str
    """cpu or cuda."""
    sound: SoundFacts
    warnings: list[str]
    """What people should know of the recording: that it is cut off."""
    statistics: RunStatistics


class EnhanceSpeechOutput(TaskOutput):
    """The speech of a recording."""

    audio_path: MediaRef
    """The speech."""
    engine: str
    """Which engine did it."""
    model_used: str
    """Its weights and their version."""
    reduction_db: float | None
    """How much quieter the recording became as a whole, in dB; null: nothing is left."""
    sound: SoundFacts
    warnings: list[str]
    """What people should know of the recording: that it is cut off."""
    statistics: RunStatistics


class MemoryUsage(TaskOutput):
    """Memory, in MiB."""

    gpu: dict[str, float]
    """Memory of each GPU that this node may use; empty: none."""
    ram: float
    """Resident set of the node's own process, without its workers."""


class HealthCheckOutput(TaskOutput):
    """How the node is."""

    service_status: Literal["healthy", "degraded"]
    """degraded: no model is here, so that only the engine without weights can work."""
    timestamp: str
    """Now, ISO 8601."""
    model_loaded: bool
    """Whether a model's files are here and whole."""
    gpu_available: bool
    """Whether this node has a GPU to ask for."""
    memory_usage: MemoryUsage
    engines: list[str]
    """The engines that can be asked for."""
