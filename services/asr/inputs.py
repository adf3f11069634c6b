"""What `faster_whisper.transcribe_audio` takes: the origin's fields, faster-whisper's names, and what users ask for beyond."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from nodekit import MediaRef, TaskInput, examples

Probability = Annotated[float, Field(ge=0, le=1)]
Milliseconds = Annotated[int, Field(ge=0, le=60_000)]
Form = Literal["json", "srt", "vtt", "ass", "txt", "tsv"]
_MAX_INSTANT = 1e6


class VadParameters(TaskInput):
    """When sound counts as speech, in Silero's terms."""

    threshold: Probability = 0.5
    """Probability of speech from which it begins."""
    neg_threshold: Probability | None = None
    """Speech goes on until the probability falls below this; null: `threshold` − 0.15."""
    min_speech_duration_ms: Milliseconds = 0
    """Shorter speech is left out."""
    max_speech_duration_s: float | None = Field(None, gt=0.5, le=30)
    """Longer speech is cut where it is least likely to be speech; null: what the engine hears at once."""
    min_silence_duration_ms: Milliseconds = 160
    """Silence must last this long to end speech."""
    speech_pad_ms: int = Field(200, ge=0, le=2_000)
    """Sound on both sides of speech that is heard with it."""


class TranscribeAudioInput(TaskInput):
    """What to hear, and how."""

    model_config = ConfigDict(
        json_schema_extra=examples({"audio_path": "films/first.mp4", "formats": ["srt", "vtt"]})
    )

    audio_path: MediaRef
    """Audio or film in any container and codec that ffmpeg reads; playlists and scripts are refused."""
    enable_word_timestamps: bool = True
    """Whether segments list their words with times. Times are measured in any case; segments are cut by them."""
    word_timestamps: bool | None = None
    """faster-whisper's name of the same; null: as above."""
    engine: Literal["auto", "faster-whisper", "pocketsphinx"] = "auto"
    """auto: Whisper with the best model that is here; where there is none, pocketsphinx for English."""
    model: str | None = Field(None, min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][\w.-]*$")
    """A Whisper model by its name in the model store; null: as configured."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where Whisper runs; auto: as configured. `cuda` waits for a GPU lease."""
    compute_type: Literal[
        "auto", "default", "int8", "int8_float16", "int8_float32", "float16", "bfloat16", "float32"
    ] = "auto"
    """CTranslate2's arithmetic; auto: as configured, else int8 on processors and float16 on GPUs."""
    language: str | None = Field(None, pattern=r"^([a-z]{2,3}|auto)$")
    """ISO 639-1 code; null or auto: found out."""
    task: Literal["transcribe", "translate"] = "transcribe"
    """translate: into English. Refused where the model does it too poorly to be of use."""
    multilingual: bool = True
    """Whether the language is found out for each group of speech (at most 12 s) and not once for the recording."""
    beam_size: int = Field(5, ge=1, le=20)
    """Width of the search; 1 is fastest."""
    batch_size: int | None = Field(None, ge=1, le=64)
    """Windows heard at once; null: as configured."""
    temperature: float | list[float] = Field(default=[0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
    """Temperatures, the next of which is tried for a window whose text fails a threshold below."""
    compression_ratio_threshold: float | None = Field(2.4, gt=0)
    """Above it a text repeats itself and its window is heard again; null: never."""
    log_prob_threshold: float | None = Field(-1.0, le=0)
    """Mean log probability below which a window is heard again; null: never."""
    no_speech_threshold: Probability | None = 0.6
    """Probability of no speech above which an unsure text is dropped; null: never."""
    condition_on_previous_text: bool = False
    """Whether what was said is told to the recogniser as context; then windows are heard one by one, and errors can spread."""
    initial_prompt: str | None = Field(None, max_length=2_000)
    """Text that comes before, in style and spelling."""
    hotwords: str | None = Field(None, max_length=1_000)
    """Words that are likely to be said: names, terms."""
    best_of: int = Field(5, ge=1, le=20)
    """Texts to choose from at a temperature above 0."""
    patience: float = Field(1.0, gt=0, le=10)
    """Patience of the beam search."""
    length_penalty: float = Field(1.0, ge=0, le=10)
    """Exponent of a text's length in its score."""
    repetition_penalty: float = Field(1.0, ge=0.5, le=3)
    """Above 1: words that were said are less likely."""
    no_repeat_ngram_size: int = Field(0, ge=0, le=20)
    """Runs of so many tokens are never repeated; 0: they may be."""
    hallucination_silence_threshold: float | None = Field(None, ge=0, le=60)
    """With `vad_filter: false`: words in silences longer than this, in seconds, are dropped. With it no word lies in silence."""
    clip_timestamps: str | list[float] = Field(default_factory=list)
    """Stretches to hear: `start,end,start,end,…` in seconds, or a list of these; the last end may be left out. Empty: all."""
    vad_filter: bool = True
    """Whether only speech is heard. false: everything, which invites text on silence."""
    vad_parameters: VadParameters = VadParameters()
    """When sound counts as speech."""
    channels: Literal["mix", "apart"] = "mix"
    """apart: each channel (at most 8) is heard by itself, and its segments carry it as speaker: telephone calls, panels."""
    audio_stream: int = Field(0, ge=0, le=100)
    """Which audio stream of the file, from 0."""
    chinese: Literal["simplified", "traditional", "as_heard"] = "simplified"
    """Script of Chinese text; Whisper mixes both."""
    formats: list[Form] = Field(default=["srt"], max_length=6)
    """Files to write besides the JSON, which always is: srt, vtt, ass (karaoke: words light up), txt,
    tsv (start and end in milliseconds, text)."""
    max_line_width: int | None = Field(None, ge=8, le=120)
    """Columns of a subtitle line; null: 42, for Chinese, Japanese and Korean 16."""
    max_line_count: int = Field(2, ge=1, le=4)
    """Lines of a subtitle."""

    @field_validator("temperature")
    @classmethod
    def _temperatures(cls, value: float | list[float]) -> float | list[float]:
        values = value if isinstance(value, list) else [value]
        if not 1 <= len(values) <= 10 or not all(0 <= each <= 1 for each in values):
            raise ValueError("temperature is one number or up to ten, each 0 to 1")
        return value

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.clips()
        return self

    def clips(self) -> tuple[tuple[float, float], ...]:
        """Return the stretches to hear, in order. Raises ValueError."""
        parts = self.clip_timestamps
        try:
            edges = [
                float(part) for part in (parts.split(",") if isinstance(parts, str) else parts) if part != ""
            ]
        except ValueError:
            raise ValueError("clip_timestamps is start,end,… in seconds") from None
        if len(edges) % 2:
            edges.append(_MAX_INSTANT)
        if len(edges) > 2_000 or not all(0 <= edge <= _MAX_INSTANT for edge in edges):
            raise ValueError("clip_timestamps has at most 1,000 stretches within 0 to 1,000,000 seconds")
        if any(
            later <= earlier for earlier, later in zip(edges[::2], edges[1::2], strict=True)
        ) or edges != sorted(edges):
            raise ValueError("clip_timestamps must be in order, each start before its end")
        return tuple(zip(edges[::2], edges[1::2], strict=True))
