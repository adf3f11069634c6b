"""What goes into a recognition and what comes out of it: plain data, so that the node needs no engine to speak of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from services.asr.segments import Heard
from services.asr.speech import VadOptions


@dataclass(frozen=True)
class Options:
    """How to recognise; names and meanings as in faster-whisper."""

    language: str | None = None
    task: str = "transcribe"
    beam_size: int = 5
    best_of: int = 5
    patience: float = 1.0
    length_penalty: float = 1.0
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    batch_size: int = 8
    temperature: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    compression_ratio_threshold: float = 2.4
    log_prob_threshold: float = -1.0
    no_speech_threshold: float = 0.6
    condition_on_previous_text: bool = False
    initial_prompt: str | None = None
    prefix: str | None = None
    hotwords: str | None = None
    suppress_blank: bool = True
    suppress_tokens: tuple[int, ...] = (-1,)
    max_new_tokens: int | None = None
    multilingual: bool = True
    """Whether each window may have a language of its own; false: the first one's counts."""
    vad_filter: bool = True
    vad: VadOptions = field(default_factory=VadOptions)
    clips: tuple[tuple[float, float], ...] = ()
    """Spans to hear, in seconds; none: all."""


@dataclass(frozen=True)
class Plan:
    """What will be heard."""

    windows: int
    speech_seconds: float
    first: float
    last: float


@dataclass(frozen=True)
class WindowDone:
    """One window is done."""

    number: int
    """From 0."""
    end: float
    """Seconds of the recording up to which everything is heard."""
    segments: tuple[Heard, ...]
    languages: tuple[tuple[str, float], ...]
    """Language and seconds of speech in it."""
    repeated: int
    """Decodes that were done again."""
    dropped_words: int
    """Words left out because nobody speaks where they lie."""
