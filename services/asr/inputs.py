"""What the tasks take. Names and meanings are those of faster-whisper, with the defaults that serve recordings of every kind
best.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from nodekit import MediaRef, TaskInput

Seconds = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
TextForm = Literal["srt", "vtt", "ass", "txt", "tsv"]


class VadParameters(TaskInput):
    """What counts as speech."""

    threshold: float = Field(0.5, gt=0, lt=1)
    """Probability from which a moment is speech."""
    neg_threshold: float | None = Field(None, gt=0, lt=1)
    """Probability below which it ends; null: 0.15 less than `threshold`."""
    min_speech_duration_ms: int = Field(100, ge=0, le=10_000)
    """Shorter sounds are none."""
    max_speech_duration_s: float | None = Field(None, gt=1)
    """Longer speech is cut in its longest pause; null: where a window ends."""
    min_silence_duration_ms: int = Field(300, ge=0, le=10_000)
    """Shorter pauses are part of speech."""
    speech_pad_ms: int = Field(200, ge=0, le=1000)
    """Sound around speech that is heard as well."""


class TranscribeAudioInput(TaskInput):
    """Which recording to hear, and how."""

    audio_path: MediaRef
    """The recording: audio or video, in any container that ffmpeg reads."""
    enable_word_timestamps: bool = True
    """Whether the files have each word's time. Words are timed in any case: segments are cut by them."""
    model: str = Field("auto", min_length=1, max_length=100)
    """Model of the model store, or auto: the node's own choice."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to run; auto: as the node is set."""
    compute_type: str = Field("default", pattern=r"^[a-z0-9_]{1,20}$")
    """CTranslate2's number format; default: int8 on the processor, float16 on a GPU."""
    language: str | None = Field(None, pattern=r"^[a-z]{2,3}$")
    """Language code; null: told for each stretch of speech."""
    multilingual: bool = True
    """Whether each stretch of speech may have its own language; false: the first one's counts for all."""
    task: Literal["transcribe", "translate"] = "transcribe"
    """translate: into English. Small models do that badly and refuse it for languages that they cannot."""
    beam_size: int = Field(5, ge=1, le=20)
    """Beams of the search."""
    best_of: int = Field(5, ge=1, le=20)
    """Candidates when a temperature is above zero."""
    patience: float = Field(1.0, gt=0, le=10)
    """Patience of the beam search."""
    length_penalty: float = Field(1.0, ge=0, le=10)
    """Exponent of the length in scores."""
    repetition_penalty: float = Field(1.0, ge=1, le=10)
    """Above 1: words that were said already cost more."""
    no_repeat_ngram_size: int = Field(0, ge=0, le=20)
    """So many tokens never come twice; 0: they may."""
    batch_size: int = Field(8, ge=1, le=64)
    """Windows that are decoded at once; 1: one after the other."""
    temperature: list[Annotated[float, Field(ge=0, le=2)]] = Field(
        [0.0, 0.2, 0.4, 0.6, 0.8, 1.0], min_length=1, max_length=10
    )
    """Tried in order for a window whose decode fails the thresholds."""
    compression_ratio_threshold: float = Field(2.4, gt=0, le=100)
    """Text that compresses better than this is a loop."""
    log_prob_threshold: float = Field(-1.0, ge=-100, le=0)
    """Mean log probability below which a decode failed."""
    no_speech_threshold: float = Field(0.6, ge=0, le=1)
    """Above it, and with a poor probability, a window is silence."""
    initial_prompt: str | None = Field(None, max_length=2000)
    """Text that is taken as said before each window: names, spelling, style."""
    prefix: str | None = Field(None, max_length=500)
    """Text that each window begins with."""
    hotwords: str | None = Field(None, max_length=1000)
    """Words that are likely to be said."""
    suppress_blank: bool = True
    """Whether a window may not begin with a blank."""
    suppress_tokens: list[Annotated[int, Field(ge=-1, le=200_000)]] = Field([-1], max_length=1000)
    """Tokens that are never said; -1: the library's set of symbols."""
    max_new_tokens: int | None = Field(None, ge=1, le=440)
    """Most tokens of a window."""
    vad_filter: bool = True
    """Whether only speech is heard; false: everything, in windows of 28 s."""
    vad_parameters: VadParameters = VadParameters()
    """What counts as speech."""
    clip_timestamps: list[Annotated[list[Seconds], Field(min_length=2, max_length=2)]] = Field(
        [], max_length=1000
    )
    """[start, end] of each part to hear, in seconds; none: all."""
    channels: Literal["mix", "apart"] = "mix"
    """apart: each channel is heard by itself and named as its segments' speaker, as telephone recordings need it."""
    chinese: Literal["simplified", "traditional", "as_heard"] = "simplified"
    """Script of Chinese text; models mix them."""
    formats: list[TextForm] = Field(["srt"], max_length=5)
    """Files to write beside the JSON: SRT, VTT and ASS (karaoke) in readable cues, TXT and TSV by segment."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if any(end <= start for start, end in self.clip_timestamps):
            raise ValueError("clip_timestamps: every end must be greater than its start")
        clips = sorted(self.clip_timestamps)
        if any(later[0] < earlier[1] for earlier, later in pairwise(clips)):
            raise ValueError("clip_timestamps must not overlap")
        return self
