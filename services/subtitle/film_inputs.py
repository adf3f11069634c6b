"""What the tasks take that put subtitles into films, or take them out."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from nodekit import MediaRef, TaskInput, examples
from services.subtitle.inputs import FileBase

Language = Annotated[str, StringConstraints(max_length=35, pattern=r"^[A-Za-z]{2,3}([-_][A-Za-z0-9]{1,8})*$")]


class ExtractSoftSubtitlesInput(TaskInput):
    """Which film to take the subtitles out of."""

    model_config = ConfigDict(json_schema_extra=examples({"video_path": "films/first.mp4"}))

    video_path: MediaRef
    """The film."""
    languages: list[Language] = Field(default_factory=list, max_length=50)
    """Only tracks in these languages; empty: all."""
    output_format: Literal["srt", "vtt", "ass", "json"] = "srt"
    """Form to write."""


class SoftTrack(TaskInput):
    """One track of subtitles."""

    subtitle_path: MediaRef
    """The subtitles, in any form and encoding."""
    language: Language
    """Language code: `en`, `zh-Hans`, `ger`."""
    title: str = Field("", max_length=100, pattern=r"^[^\x00-\x1f]*$")
    """Name that players show."""
    default: bool = False
    """Whether players show it unasked."""
    forced: bool = False
    """Whether it holds only what must be read: foreign speech, signs."""


class MuxSubtitlesInput(TaskInput):
    """Which subtitles to put into which film as tracks that viewers can choose."""

    model_config = ConfigDict(
        json_schema_extra=examples(
            {
                "video_path": "films/first.mp4",
                "tracks": [
                    {
                        "subtitle_path": "films/first.srt",
                        "language": "en",
                        "title": "English",
                        "default": True,
                    }
                ],
            }
        )
    )

    video_path: MediaRef
    """The film; its picture and sound are copied."""
    tracks: list[SoftTrack] = Field(min_length=1, max_length=32)
    """The tracks, in order."""
    container: Literal["mkv", "mp4"] = "mkv"
    """Container to write. MP4 keeps no styles."""
    keep_existing: bool = True
    """Whether text subtitles that the film has stay, in front of the new ones."""
    output_filename: FileBase = ""
    """File name without extension; empty: that of the film."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if sum(track.default for track in self.tracks) > 1:
            raise ValueError("tracks: at most one can be the default")
        return self


class BurnSubtitlesInput(TaskInput):
    """Which subtitles to draw into the picture of which film."""

    model_config = ConfigDict(
        json_schema_extra=examples({"video_path": "films/first.mp4", "subtitle_path": "films/first.srt"})
    )

    video_path: MediaRef
    """The film; its sound is copied, or becomes AAC where MP4 cannot hold it."""
    subtitle_path: MediaRef
    """The subtitles, in any form and encoding; ASS keeps its styles."""
    encoding: str | None = Field(None, max_length=32)
    """The subtitles' encoding; null: found by their bytes."""
    cover_path: MediaRef | None = None
    """Text of the picture that is covered first, where and while it stands: the `json_file` of `paddleocr.extract_subtitles`."""
    cover: Literal["fill", "blur", "box"] = "fill"
    """How: filled in from the pixels around it, blurred, or by a black bar. What stood behind it does not come back."""
    font: str = Field("Noto Sans CJK SC", min_length=1, max_length=100, pattern=r"^[^,\r\n]+$")
    """Font; where it is missing, or has not all characters, libass takes another one that has."""
    font_size: float = Field(5.0, ge=1, le=20)
    """Height of a letter, percent of the picture's height."""
    margin: float = Field(5.0, ge=0, le=40)
    """Distance from the picture's lower edge, percent of its height."""
    crf: int = Field(18, ge=0, le=40)
    """Quality of x264: 0 lossless, 18 as good as the source to the eye, 28 small."""
    preset: Literal["ultrafast", "veryfast", "faster", "fast", "medium", "slow"] = "fast"
    """How much time x264 takes to be small."""
    output_filename: FileBase = ""
    """File name without extension; empty: that of the film."""
