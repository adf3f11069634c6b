"""What clients send to the audio endpoints."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from gateway.http.model import Body, Query

TranscriptFormat = Literal["json", "text", "srt", "verbose_json", "vtt"]
SpeechFormat = Literal["mp3", "opus", "aac", "flac", "wav", "pcm"]
Granularity = Literal["segment", "word"]


class TranslationFields(Query):
    """The fields of a translation's form besides the file."""

    model: str = Field(min_length=1, max_length=100)
    """`whisper-1` for the node's own choice, or a model that the node has."""
    prompt: str | None = Field(None, max_length=2000)
    """Text that is taken as said before: names, spelling, style."""
    response_format: TranscriptFormat = "json"
    """Form of the answer."""
    temperature: float = Field(0.0, ge=0, le=1)
    """0: the node tries higher ones only where a decode fails."""


class TranscriptionFields(TranslationFields):
    """The fields of a transcription's form besides the file."""

    language: str | None = Field(None, pattern=r"^[a-z]{2,3}$")
    """ISO 639 code; default: told for each stretch of speech."""
    timestamp_granularities: list[Granularity] = Field(default_factory=list, max_length=2)
    """For verbose_json: segments (default), words, or both."""
    stream: bool = False
    """Whether the text comes as server-sent events while it is heard."""


class SpeechBody(Body):
    """What to say, and how."""

    model: str = Field(min_length=1, max_length=100)
    """`tts-1` or another of OpenAI's names: the node's own choice; or an engine that the node has."""
    input: str = Field(min_length=1, max_length=4096)
    """The text."""
    voice: str = Field(min_length=1, max_length=64)
    """A voice of the node (`indextts.list_voice_presets`); OpenAI's own names stand for the language's default."""
    response_format: SpeechFormat = "mp3"
    """Form of the audio; aac comes in an MP4 container, pcm is 24 kHz, 16 bit, mono, little-endian, without a header."""
    speed: Annotated[float, Field(ge=0.5, le=2)] = 1.0
    """1 is ordinary."""
