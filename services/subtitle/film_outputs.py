"""What the tasks give that put subtitles into films, or take them out."""

from __future__ import annotations

from nodekit import MediaRef, TaskOutput


class FoundTrack(TaskOutput):
    """A track of subtitles that a film has."""

    index: int
    """The stream's number in the film."""
    codec: str
    """As ffmpeg calls it: `subrip`, `ass`, `mov_text`, `hdmv_pgs_subtitle`."""
    language: str
    """Language code as the film has it; empty: none."""
    title: str
    """Name; empty: none."""
    default: bool
    """Whether players show it unasked."""
    forced: bool
    """Whether it holds only what must be read."""
    is_text: bool
    """false: pictures, which `paddleocr` reads."""
    subtitle_path: MediaRef | None
    """The track as a file; null for pictures and for tracks without a cue."""
    total_cues: int
    """Cues."""


class ExtractSoftSubtitlesOutput(TaskOutput):
    """A film's tracks of subtitles."""

    subtitle_path: MediaRef | None
    """The default track, or the first one with text; null when there is none."""
    tracks: list[FoundTrack]
    """All tracks of the languages that were asked for."""


class MuxSubtitlesOutput(TaskOutput):
    """A film with tracks of subtitles."""

    video_path: MediaRef
    """The film."""
    total_tracks: int
    """Tracks of subtitles that it has now."""


class BurnSubtitlesOutput(TaskOutput):
    """A film with subtitles in its picture."""

    video_path: MediaRef
    """The film, H.264 in MP4."""
    total_cues: int
    """Cues that were drawn."""
    covered_areas: int
    """Bands of the picture in which text was covered."""
    duration: float
    """Seconds."""
