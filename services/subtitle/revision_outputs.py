"""What the tasks give that have texts revised."""

from __future__ import annotations

from pydantic import Field

from nodekit import MediaRef, TaskOutput


class ModelUse(TaskOutput):
    """What the language model was asked and what that cost."""

    model: str = ""
    """As its server calls it; empty: none was asked."""
    requests: int = 0
    """Requests, those sent again included."""
    input_tokens: int = 0
    """Tokens sent."""
    output_tokens: int = 0
    """Tokens of answers."""
    cost: float = 0.0
    """By the configured prices."""
    currency: str = ""
    """Of the cost."""
    error: str = ""
    """Why the model was asked no more before the end, if it was not."""


class Revised(TaskOutput):
    """What became of the lines."""

    lines: int = 0
    """Lines."""
    changed: int = 0
    """Lines with another text."""
    changed_by_rule: int = 0
    """Those of them that rules alone have changed, or changed first."""
    refused: int = 0
    """Lines for which a proposal of the model was refused for good: they keep their text, or the best that was proposed."""
    refused_by_reason: dict[str, int] = Field(default_factory=dict)
    """The same by reason (`subtitles.revision.verdict.Refusal`)."""
    batches: int = 0
    """Questions."""
    gave_up: bool = False
    """Whether the model was asked no more because it was of no use or out of reach."""
    resumed: int = 0
    """Lines that an earlier attempt had settled."""


class CorrectionStatistics(TaskOutput):
    """Figures of a correction, by the origin's names."""

    original_entries: int
    """Cues that came in."""
    corrected_entries: int
    """Cues that went out."""
    original_characters: int
    """Letters that came in."""
    corrected_characters: int
    """Letters that went out."""
    processing_time: float
    """Seconds."""
    provider: str
    """Who corrected; `rules`: no model."""


class CorrectSubtitlesOutput(TaskOutput):
    """Corrected subtitles."""

    corrected_subtitle_path: MediaRef | None
    """SRT; null when the task was skipped."""
    original_subtitle_path: MediaRef
    """What came in."""
    provider_used: str
    """Who corrected; `rules`: no model."""
    statistics: CorrectionStatistics | None = None
    """Figures."""
    report_path: MediaRef | None = None
    """JSON with every change and every refusal."""
    revised: Revised | None = None
    """What became of the lines."""
    fixes: dict[str, int] = Field(default_factory=dict)
    """What rules mended before, by kind."""
    use: ModelUse | None = None
    """What the model was asked."""


class OptimizationStatistics(TaskOutput):
    """Figures of an optimization, by the origin's names."""

    total_commands: int
    """Commands that were carried out."""
    optimization_rate: float
    """Share of lines that were changed, 0 to 1."""


class AiOptimizeSubtitlesOutput(TaskOutput):
    """Optimized subtitles."""

    optimized_file_path: MediaRef | None
    """JSON `{metadata, subtitles, optimization_stats}`; null when the task was skipped."""
    original_file_path: str
    """Name of what came in."""
    provider_used: str
    """Who optimized; `rules`: no model."""
    processing_time: float = 0.0
    """Seconds."""
    subtitles_count: int = 0
    """Cues."""
    commands_applied: int = 0
    """Commands that were carried out."""
    commands_by_kind: dict[str, int] = Field(default_factory=dict)
    """The same by kind."""
    batch_mode: bool = False
    """Whether there was more than one question."""
    batches_count: int = 0
    """Questions."""
    statistics: OptimizationStatistics | None = None
    """Figures."""
    report_path: MediaRef | None = None
    """JSON with every change and every refusal."""
    revised: Revised | None = None
    """What became of the lines."""
    use: ModelUse | None = None
    """What the model was asked."""


class AiOptimizeTextOutput(TaskOutput):
    """A corrected text."""

    optimized_text_file: MediaRef
    """UTF-8."""
    provider_used: str
    """Who corrected; `rules`: no model."""
    report_path: MediaRef
    """JSON with every change and every refusal."""
    revised: Revised
    """What became of its sentences."""
    use: ModelUse
    """What the model was asked."""


class TranslateSubtitlesOutput(TaskOutput):
    """Translated subtitles."""

    translated_segments_file: MediaRef
    """JSON `{metadata, translated_segments}`: as many as came in, at the same times, without words."""
    translated_subtitle_path: MediaRef
    """The same as SRT."""
    provider_used: str
    """Who translated."""
    report_path: MediaRef
    """JSON with every refusal."""
    revised: Revised
    """What became of the lines; `over_budget` and `glossary` among the refusals have a translation all the same."""
    untranslated: int
    """Lines that keep their text."""
    use: ModelUse
    """What the model was asked."""
