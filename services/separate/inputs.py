"""What the tasks take."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field

from nodekit import MediaRef, TaskInput, examples
from services.separate.settings import EngineName

QualityMode = Literal["default", "high_quality", "fast"]
OutputFormat = Literal["flac", "wav", "mp3"]


class SeparatorConfig(TaskInput):
    """The origin system's place for its settings; a field that is set here wins over the one beside it."""

    quality_mode: QualityMode | None = None
    """See the field beside this object."""
    model_type: Literal["mdx", "demucs"] | None = None
    """See the field beside this object."""
    model_name: str | None = Field(None, max_length=200)
    """See the field beside this object."""
    use_vocal_optimization: bool | None = None
    """See the field beside this object."""
    vocal_optimization_level: str | None = Field(None, max_length=50)
    """See the field beside this object."""


class SeparateVocalsInput(TaskInput):
    """Which recording to take the voices out of, and how."""

    model_config = ConfigDict(json_schema_extra=examples({"audio_path": "films/first.mp4"}))

    audio_path: MediaRef
    """The recording: an audio file, or a film whose sound is taken."""
    audio_separator_config: SeparatorConfig | None = None
    """The origin system's settings, which may stand beside it as well."""
    quality_mode: QualityMode = "default"
    """Chooses among the models of a demucs folder, where it has more than one."""
    model_type: Literal["mdx", "demucs"] | None = None
    """Kind of trained model. demucs asks for the engine of that name; mdx has no engine here and leaves the choice open."""
    model_name: str | None = Field(None, max_length=200)
    """Model of the RoFormer or demucs folder; null: as configured, else by the quality mode."""
    use_vocal_optimization: bool = False
    """Accepted for clients of the origin system; without effect."""
    vocal_optimization_level: str | None = Field(None, max_length=50)
    """Accepted for clients of the origin system; without effect."""
    engine: EngineName = "auto"
    """roformer, demucs: a folder of models; deepfilternet: speech; repet: voices over repeating music; auto: a folder where one is
    set, else by what is heard."""
    only_when: Literal["always", "music_is_loud"] = "always"
    """music_is_loud: unless music plays for a good part of the time about as loud as speech, nothing is parted, the recording
    itself is given as `vocal_audio`, and the task ends as skipped."""
    output_format: OutputFormat = "flac"
    """flac: 24 bits; wav: 32-bit floats; mp3: at most two channels, and not to the sample."""
    stream_index: int | None = Field(None, ge=0, le=1000)
    """The stream's number in the file; null: the first audio stream."""

    def setting(self, name: str) -> Any:
        """Return one of the origin's settings, from wherever it stands."""
        nested = getattr(self.audio_separator_config, name, None) if self.audio_separator_config else None
        return nested if nested is not None else getattr(self, name)


class EnhanceSpeechInput(TaskInput):
    """Which recording to free of noise."""

    model_config = ConfigDict(json_schema_extra=examples({"audio_path": "films/first.mp4"}))

    audio_path: MediaRef
    """The recording: an audio file, or a film whose sound is taken."""
    strength: float = Field(1.0, ge=0.0, le=1.0)
    """How much of what is not speech goes: 0 nothing, 1 all; between, so much of 40 dB."""
    output_format: OutputFormat = "flac"
    """flac: 24 bits; wav: 32-bit floats; mp3: at most two channels, and not to the sample."""
    stream_index: int | None = Field(None, ge=0, le=1000)
    """The stream's number in the file; null: the first audio stream."""


class HealthCheckInput(TaskInput):
    """Nothing is asked for."""

    model_config = ConfigDict(json_schema_extra=examples({}))
