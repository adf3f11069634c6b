"""What a recognition is told; travels to the model's process by pickle."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf


@dataclass(frozen=True)
class VadRules:
    """When sound counts as speech. Probabilities 0 to 1, durations in seconds."""

    threshold: float = 0.5
    neg_threshold: float | None = None
    """Speech goes on until the probability falls below this; None: `threshold` − 0.15."""
    min_speech_seconds: float = 0.0
    max_speech_seconds: float = inf
    """Longer speech is cut where it is least likely to be speech."""
    min_silence_seconds: float = 0.16
    """Silence must last this long to end speech."""
    pad_seconds: float = 0.2
    """Sound on both sides of speech that is heard with it: soft consonants begin and end below the threshold."""


@dataclass(frozen=True)
class Decode:
    """How the recogniser searches, in the terms of faster-whisper."""

    task: str = "transcribe"
    beam_size: int = 5
    batch_size: int = 8
    temperatures: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    compression_ratio_threshold: float | None = 2.4
    log_prob_threshold: float | None = -1.0
    no_speech_threshold: float | None = 0.6
    condition_on_previous_text: bool = False
    initial_prompt: str | None = None
    hotwords: str | None = None
    best_of: int = 5
    patience: float = 1.0
    length_penalty: float = 1.0
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0


@dataclass(frozen=True)
class Options:
    """One recognition."""

    language: str | None = None
    """ISO 639-1 code; None: found out."""
    multilingual: bool = True
    """Whether the language is found out for each group of speech, and not once for all."""
    vad_filter: bool = True
    vad: VadRules = field(default_factory=VadRules)
    decode: Decode = field(default_factory=Decode)
    clips: tuple[tuple[float, float], ...] = ()
    """Stretches to hear, start and end in seconds, in order; none: everything."""
    hallucination_silence_seconds: float | None = None
    """Without `vad_filter`: words in silences longer than this are dropped."""
    chinese: str = "simplified"
    """Script of Chinese text: simplified, traditional, as_heard."""
