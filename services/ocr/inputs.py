"""What the tasks take. Times are seconds on the film's clock; areas are pixels of the upright picture with
square pixels, that of full-size key frames.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from nodekit import MediaRef, TaskInput, examples
from services.ocr.languages import Language
from services.ocr.settings import EngineName

SubtitleFormat = Literal["srt", "vtt", "ass", "json"]
Pixel = Annotated[int, Field(ge=0, le=65536)]
SubtitleArea = tuple[Pixel, Pixel, Pixel, Pixel]


class ExtractSubtitlesInput(TaskInput):
    """Which film to read, and how."""

    model_config = ConfigDict(json_schema_extra=examples({"video_path": "films/first.mp4"}))

    video_path: MediaRef
    """The film, in any container ffmpeg reads."""
    subtitle_area: SubtitleArea | None = None
    """Where subtitles stand, [x1, y1, x2, y2], the second corner outside; null: the lower third of the picture."""
    zones: Annotated[list[SubtitleArea], Field(min_length=1, max_length=8)] | None = None
    """Several areas, in place of `subtitle_area`: subtitles at the top and at the bottom, columns at a side."""
    find_zones: bool = False
    """Whether areas are looked for in some sixty pictures of the film; where none is found, the lower third is read."""
    formats: list[SubtitleFormat] = Field(["srt", "json"], min_length=1, max_length=4)
    """Files that are written; ASS has each cue at its place, JSON has boxes, confidences and what was left out."""
    language: Language = "auto"
    """What is written there; auto: found out by script. Others than zh, en, ja and Latin need Tesseract's file of the language."""
    engine: EngineName = "auto"
    """What reads; auto: what the node is set to, else PaddleOCR where its model folders are set, else RapidOCR."""
    conf_threshold: float = Field(0.6, ge=0, le=1)
    """Lines that the engine is less sure of are left out."""
    min_duration_ms: int = Field(120, ge=0, le=10_000)
    """Lines that are shown for less are left out."""
    max_merge_gap_ms: int = Field(90, ge=0, le=10_000)
    """Equal lines at one place become one across a gap of at most this."""
    drop_static_text: bool = True
    """Whether text that stands for most of the film (a logo) is kept out of the cues; it is reported as static_text."""
    drop_scene_text: bool = True
    """Whether text is kept out that is neither centred nor in a row which other texts begin in; it is reported as scene_text."""
    partial_on_cancel: bool = False
    """Whether a task that is cancelled writes the lines read by then into its log, as SRT (its files are not kept)."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.subtitle_area is not None) + (self.zones is not None) + self.find_zones > 1:
            raise ValueError("subtitle_area, zones and find_zones exclude each other")
        return self
