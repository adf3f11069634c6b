"""What the tasks give."""

from __future__ import annotations

from nodekit import MediaRef, TaskOutput


class ExtractSubtitlesOutput(TaskOutput):
    """What a film says."""

    subtitles_count: int
    """Cues; 0 is no error."""
    srt_file: MediaRef | None
    """SubRip; null: not asked for."""
    vtt_file: MediaRef | None
    """WebVTT; null: not asked for."""
    ass_file: MediaRef | None
    """Advanced SubStation Alpha, each cue at its place; null: not asked for."""
    json_file: MediaRef | None
    """Everything; null: not asked for."""
    subtitle_area: list[int]
    """The area that was read, [x1, y1, x2, y2]; of several, the smallest around all."""
    zones: list[list[int]]
    """The areas that were read, one by one."""
    static_text: list[str]
    """Text that stands for most of the film and was left out."""
    scene_text: list[str]
    """Text in the picture that was taken for no subtitle and left out."""
    soft_subtitles: list[str]
    """Languages of the subtitle streams that the file carries: those are exact, and better than anything read."""
    engine: str
    """What has read."""
    engine_reason: str
    """Why it was taken."""
    engine_models: str
    """Its networks, detector and recogniser."""
    device: str
    """Where the networks ran: cpu or cuda."""
    frames: int
    """Frames that were decoded."""
    detector_calls: int
    """Runs of the detector's network; one sees many frames."""
    recogniser_calls: int
    """Runs of the recogniser's network, or of its program; one reads many lines."""
    resumed_at_seconds: float | None
    """Where an earlier attempt had come to, so that this one went on there; null: it began at the beginning."""
    load_seconds: float
    """How long the engine took to load; 0: it was loaded already."""
    warnings: list[str]
    """What people should know: that the film is cut off."""
