"""What the tasks take. Times are seconds on the film's clock; areas are pixels of the upright picture."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from nodekit import MediaRef, TaskInput, examples

SubtitleFormat = Literal["srt", "vtt", "ass", "json"]
Pixel = Annotated[int, Field(ge=0, le=65536)]


class ExtractSubtitlesInput(TaskInput):
    """Which film to read, and how."""

    model_config = ConfigDict(json_schema_extra=examples({"video_path": "films/first.mp4"}))

    video_path: MediaRef
    """The film, in any container ffmpeg reads."""
    subtitle_area: tuple[Pixel, Pixel, Pixel, Pixel] | None = None
    """Where subtitles stand, [x1, y1, x2, y2]; null: the lower third of the picture."""
    formats: list[SubtitleFormat] = Field(["srt", "json"], min_length=1, max_length=4)
    """Files that are written; ASS has each cue at its place, JSON has boxes, confidences and what was left out."""
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
