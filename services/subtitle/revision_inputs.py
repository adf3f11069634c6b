"""What the tasks take that have texts revised: by rules, and by a language model where one is configured."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints

from nodekit import MediaRef, TaskInput, examples
from services.subtitle.inputs import TranscriptInput

Provider = Literal[
    "auto", "rules", "deepseek", "gemini", "zhipu", "volcengine", "openai_compatible", "ollama"
]
Language = Annotated[
    str, StringConstraints(max_length=35, pattern=r"^$|^[A-Za-z]{2,8}([-_][A-Za-z0-9]{1,8})*$")
]
Term = Annotated[str, StringConstraints(min_length=1, max_length=100)]
Instructions = Annotated[str, StringConstraints(max_length=4000)]


class ModelInput(TaskInput):
    """Which model to ask, and how."""

    provider: Provider = "auto"
    """Provider of the language model. auto: the configured default, and rules alone where none is configured; rules: no model."""
    model: str = Field("", max_length=200)
    """Model's name; empty: the configured one."""
    batch_size: int = Field(50, ge=1, le=200)
    """Lines that are asked about together."""
    overlap_size: int = Field(10, ge=0, le=50)
    """Lines around them that are shown for context."""
    max_retries: int = Field(3, ge=1, le=6)
    """How often a line is asked about in all, each time among fewer others, before it stays as it is."""
    timeout: float = Field(300, ge=1, le=3600)
    """Longest time of one question, its retries included, in seconds."""
    parallel: int = Field(2, ge=1, le=8)
    """Questions at a time."""
    on_failure: Literal["keep", "fail"] = "keep"
    """What follows when the model cannot be reached: keep the texts that are not revised yet, or fail as retryable with what is
    revised kept for the next attempt."""


class Correction(ModelInput):
    """Whether and by whom subtitles are corrected."""

    enabled: bool = False
    """false: the task ends as skipped."""


class CorrectSubtitlesInput(TaskInput):
    """Which subtitles to correct."""

    model_config = ConfigDict(
        json_schema_extra=examples(
            {
                "subtitle_path": "films/first.srt",
                "language": "en",
                "subtitle_correction": {"enabled": True, "provider": "rules"},
            }
        )
    )

    subtitle_path: MediaRef
    """The file, in any form and encoding."""
    subtitle_correction: Correction = Correction()
    """Whether and by whom."""
    language: Language = ""
    """Language code of the text; empty: unknown."""
    terms: list[Term] = Field(default_factory=list, max_length=500)
    """Names and terms as they are to be written."""
    typos: Annotated[dict[str, str], Field(max_length=5_000)] = Field(default_factory=dict)
    """What is wrong: what is right."""
    instructions: Instructions = ""
    """What the model is told besides, in words."""
    fix: bool = True
    """Whether what rules can mend is mended first: order, overlaps, widths, scanners' spelling, single letters."""


class Optimization(ModelInput):
    """Whether and by whom subtitles are optimized."""

    enabled: bool
    """false: the task ends as skipped."""


class AiOptimizeSubtitlesInput(TranscriptInput):
    """Which transcript to optimize."""

    model_config = ConfigDict(
        json_schema_extra=examples(
            {"segments_file": "films/first.srt", "subtitle_optimization": {"enabled": True}}
        )
    )

    subtitle_optimization: Optimization
    """Whether and by whom."""
    language: Language = ""
    """Language code of the text; empty: unknown."""
    terms: list[Term] = Field(default_factory=list, max_length=500)
    """Names and terms as they are to be written."""
    instructions: Instructions = ""
    """What the model is told besides, in words."""


class AiOptimizeTextInput(TranscriptInput, ModelInput):
    """Which transcript's whole text to correct."""

    model_config = ConfigDict(json_schema_extra=examples({"segments_file": "films/first.srt"}))

    language: Language = ""
    """Language code of the text; empty: unknown."""
    terms: list[Term] = Field(default_factory=list, max_length=500)
    """Names and terms as they are to be written."""
    prompt_file_path: MediaRef | None = None
    """Text file with what the model is told besides."""
    system_prompt_override: Instructions = ""
    """The same, inline; it comes first. What keeps ids and words stays in force."""


class TranslateSubtitlesInput(TranscriptInput, ModelInput):
    """Which transcript or subtitles to translate."""

    model_config = ConfigDict(
        json_schema_extra=examples(
            {"segments_file": "films/first.srt", "target_language": "de", "glossary": {"bread": "Brot"}}
        )
    )

    target_language: Annotated[
        str, StringConstraints(max_length=35, pattern=r"^[A-Za-z]{2,8}([-_][A-Za-z0-9]{1,8})*$")
    ]
    """Language code to translate into: `zh-Hans`, `en`, `pt-BR`."""
    source_language: Annotated[
        str, StringConstraints(max_length=35, pattern=r"^auto$|^[A-Za-z]{2,8}([-_][A-Za-z0-9]{1,8})*$")
    ] = "auto"
    """Language code to translate from."""
    prompt_file_path: MediaRef | None = None
    """Text file with what the model is told besides."""
    style: Instructions = ""
    """How it should sound, in words."""
    glossary: Annotated[dict[Term, Term], Field(max_length=500)] = Field(default_factory=dict)
    """Terms, and what they are called in the target language."""
    cps_limit: float | None = Field(None, ge=3, le=100)
    """Letters a second that a translation may have; null: 18, or 11 into Chinese, Japanese and Korean."""
    cpl_limit: int | None = Field(None, ge=8, le=200)
    """Letters that a line of a translation may have; null: 42, or 16."""
    max_lines: Literal[1, 2] = 1
    """Lines of a translation: its room is what they hold, as far as there is time to read it."""
    bilingual: bool = False
    """Whether the text stays and the translation is put beside it."""
    on_failure: Literal["keep", "fail"] = "fail"
    """What follows when the model cannot be reached: fail as retryable with what is translated kept for the next attempt, or
    keep the texts that are not translated yet. Where not one line was translated: fail, or keep them all."""
