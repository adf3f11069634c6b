"""What the tasks take. Times are seconds.

A transcript or a diarization result is named by a file, or given inline; a file that another task has made is named by its
object path or by `${{ stages.<task>.output.<field> }}`. A transcript may be any subtitle file: SRT, WebVTT, ASS, TTML, or a
JSON of YiVideo.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from nodekit import MediaRef, TaskInput, examples

Seconds = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
FileBase = Annotated[str, StringConstraints(max_length=200, pattern=r"^[^/\\\x00-\x1f\x7f]*$")]
"""A file's name without extension, and no folder."""
Form = Literal["srt", "vtt", "ass", "ttml", "lrc", "txt", "json"]
Entries = Annotated[list[dict[str, Any]], Field(max_length=20_000)]
Rule = Literal["origin", "keep_words"]
_HE = {"word": "He", "start": 0, "end": 0.5}
_BEGAN = {"word": " began", "start": 0.5, "end": 1.9}
_SAID = [{"start": 0, "end": 2, "text": "He began", "words": [_HE, _BEGAN]}]
_SPEAKERS = [{"start": 0, "end": 4, "speaker": "SPEAKER_00"}]


class TranscriptInput(TaskInput):
    """Where the transcript is."""

    segments_file: MediaRef | None = None
    """The transcript's file."""
    segments_data: Entries | None = None
    """The transcript itself: `[{start, end, text, words?: [{word, start, end}]}]`, in place of a file."""


class MergeInput(TranscriptInput):
    """Which transcript and which speakers to bring together."""

    speaker_segments_data: Entries | None = None
    """Who speaks when: `[{start, end, speaker}]`, in place of a file."""
    diarization_file: MediaRef | None = None
    """The diarization result's file."""


class LimitsInput(TaskInput):
    """What readers can bear. null: by the script, 42 letters a line and 20 a second, or 16 and 11 for Chinese, Japanese, Korean."""

    max_chars_per_line: int | None = Field(None, ge=8, le=200)
    """Letters a line; in CJK text other characters count half."""
    max_lines: int | None = Field(None, ge=1, le=4)
    """Lines a cue; 2."""
    max_cps: float | None = Field(None, ge=3, le=100)
    """Letters a second."""
    min_duration: float | None = Field(None, ge=0.1, le=5)
    """Seconds; 0.83."""
    max_duration: float | None = Field(None, ge=1, le=60)
    """Seconds; 7."""
    min_gap: float | None = Field(None, ge=0, le=1)
    """Seconds between cues; 0.083, two frames."""

    def overrides(self) -> dict[str, float]:
        """Return what was set, by the names of `subtitles.measure.Limits`."""
        fields = {
            "line_columns": self.max_chars_per_line,
            "lines": self.max_lines,
            "columns_per_second": self.max_cps,
            "min_seconds": self.min_duration,
            "max_seconds": self.max_duration,
            "min_gap_seconds": self.min_gap,
        }
        return {name: value for name, value in fields.items() if value is not None}


class GenerateSubtitleFilesInput(TranscriptInput, LimitsInput):
    """Which transcript to make which subtitle files of."""

    model_config = ConfigDict(
        json_schema_extra=examples({"segments_file": "films/first.srt", "formats": ["srt", "vtt", "ass"]})
    )

    diarization_file: MediaRef | None = None
    """Who speaks when; without it the transcript's own speakers count, if it names any."""
    audio_duration: Seconds = 0.0
    """Length of the film, so that the last cue does not outlast it; 0: not known."""
    language: str = Field("unknown", max_length=35)
    """Language code of the text, written into the files."""
    output_filename: FileBase = ""
    """File name without extension; empty: that of the transcript."""
    formats: list[Form] = Field(["srt", "json"], min_length=1, max_length=7)
    """Forms to write beside SRT and JSON, which are always written."""
    resegment: bool = True
    """Whether the text is cut into cues anew, for readers; false: each segment becomes a cue."""
    speaker_prefix: bool = False
    """Whether the basic files, too, say who speaks; `…_with_speakers.srt` always does."""
    karaoke: bool = False
    """Whether words light up in ASS as they are spoken; needs word times."""
    shot_changes: list[Seconds] = Field(default_factory=list, max_length=20_000)
    """Instants of cuts (`ffmpeg.extract_keyframes` with mode scene gives them): cues do not flash over them."""
    font: str = Field("Noto Sans CJK SC", min_length=1, max_length=100, pattern=r"^[^,\r\n]+$")
    """Font that ASS names."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if sorted(self.shot_changes) != self.shot_changes:
            raise ValueError("shot_changes must be in order")
        return self


class MergeSpeakerSegmentsInput(MergeInput):
    """Segments to give speakers."""

    model_config = ConfigDict(
        json_schema_extra=examples({"segments_data": _SAID, "speaker_segments_data": _SPEAKERS})
    )

    max_gap: float = Field(0.5, ge=0, le=10)
    """Turns of one speaker that are no farther apart count as one, in seconds."""


class MergeWithWordTimestampsInput(MergeInput):
    """Segments to give speakers, word by word."""

    model_config = ConfigDict(
        json_schema_extra=examples({"segments_data": _SAID, "speaker_segments_data": _SPEAKERS})
    )

    rule: Rule = "origin"
    """keep_words: a word in no turn goes to one within a second, in place of the speaker before it."""


class MergeSpeakerBasedSubtitlesInput(MergeInput):
    """Turns to give texts."""

    model_config = ConfigDict(
        json_schema_extra=examples({"segments_data": _SAID, "speaker_segments_data": _SPEAKERS})
    )

    overlap_threshold: float = Field(0.5, ge=0, le=1)
    """Share of a word that must lie in a turn."""
    rule: Rule = "origin"
    """keep_words: each word is in exactly one turn; by the origin's rule it may be in two or in none."""


class PrepareTtsSegmentsInput(TaskInput):
    """Segments to make ready for speech."""

    model_config = ConfigDict(
        json_schema_extra=examples(
            {"segments_data": [{"start": 0, "end": 4, "text": "He began a complaint"}], "rule": "keep_words"}
        )
    )

    segments_data: Entries | None = None
    """The segments: `[{start, end, text, speaker?, words?}]`."""
    merged_segments: Entries | None = None
    """The same, by the name that merge tasks give them."""
    segments: Entries | None = None
    """The same."""
    segments_file: MediaRef | None = None
    """The segments' file."""
    min_duration: float = Field(3.0, ge=0, le=60)
    """Seconds; what stays shorter is dropped by the origin's rule."""
    max_duration: float = Field(10.0, ge=1, le=120)
    """Seconds."""
    max_gap: float = Field(1.0, ge=0, le=60)
    """Segments of one speaker that are no farther apart are merged, in seconds."""
    split_on_punctuation: bool = False
    """Whether each sentence becomes a segment."""
    rule: Rule = "origin"
    """keep_words: nothing is dropped, and a long segment without word times has its text shared out; by the origin's rule each part
    has the whole text with a tag `[SPLIT i/n]`."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.max_duration < self.min_duration:
            raise ValueError("max_duration must not be below min_duration")
        return self


class TimedWord(TaskInput):
    """A word with its time."""

    text: str = Field(max_length=1000)
    """The word."""
    start: Seconds
    """Seconds."""
    end: Seconds
    """Seconds."""


class SegmentSubtitlesInput(TaskInput):
    """Which text to cut into subtitle lines."""

    model_config = ConfigDict(
        json_schema_extra=examples(
            {"subtitle_text": "He began a complaint. Nobody heard it.", "max_chars": 20}
        )
    )

    subtitle_text: str | None = Field(None, max_length=200_000)
    """The text."""
    words: list[TimedWord] = Field(default_factory=list, max_length=5_000)
    """Its words with times, if known: the lines then become timed cues."""
    subtitle_file: MediaRef | None = None
    """A JSON file that holds the text, in place of `subtitle_text`."""
    text_json_path: str = Field("text", max_length=500)
    """JMESPath of the text in that file: a string, or a list of strings."""
    words_json_path: str = Field("", max_length=500)
    """JMESPath of the words in that file, several separated by commas; empty: none."""
    max_chars: int = Field(42, ge=4, le=500)
    """Characters a line."""
    language: str = Field("en", max_length=35)
    """Language code of the text; for the record."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.subtitle_text is None) == (self.subtitle_file is None):
            raise ValueError("give either subtitle_text or subtitle_file")
        return self


class RebuildSubtitleInput(TranscriptInput):
    """Which corrected text to give the times of which transcript."""

    model_config = ConfigDict(
        json_schema_extra=examples({"optimized_text": "He begins.", "segments_data": _SAID})
    )

    optimized_text: str | None = Field(None, max_length=200_000)
    """The corrected text."""
    optimized_text_file: MediaRef | None = None
    """Its file, UTF-8, in place of `optimized_text`."""
    report: bool = False
    """Whether a report of the alignment is written."""
    language: str = Field("en", max_length=35)
    """Language code of the text; for the record."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.optimized_text is None) == (self.optimized_text_file is None):
            raise ValueError("give either optimized_text or optimized_text_file")
        return self


class RetimingInput(TaskInput):
    """How to move cues in time: new time = time × rate + offset."""

    offset_seconds: float = Field(0.0, ge=-1e5, le=1e5, allow_inf_nan=False)
    """Added to every time."""
    rate: float = Field(1.0, ge=0.1, le=10, allow_inf_nan=False)
    """Every time is multiplied by it, before the offset."""
    source_fps: float | None = Field(None, ge=1, le=1000)
    """Frame rate that the subtitles were made for; with `target_fps` in place of `rate`."""
    target_fps: float | None = Field(None, ge=1, le=1000)
    """Frame rate of the film that they are shown with."""

    @model_validator(mode="after")
    def _check_rates(self) -> Self:
        if (self.source_fps is None) != (self.target_fps is None):
            raise ValueError("source_fps and target_fps go together")
        if self.source_fps is not None and self.rate != 1.0:
            raise ValueError("rate and source_fps exclude each other")
        return self


class FixSubtitlesInput(RetimingInput, LimitsInput):
    """Which subtitle file to mend."""

    model_config = ConfigDict(
        json_schema_extra=examples(
            {"subtitle_path": "films/first.srt", "language": "en"},
            {"subtitle_path": "films/first.srt", "sync_to": "films/first.mp4"},
        )
    )

    subtitle_path: MediaRef
    """The file, in any form and encoding."""
    encoding: str | None = Field(None, max_length=32)
    """The file's encoding; null: by its marks, as UTF-8, else as the likeliest old code page."""
    output_format: Form = "srt"
    """Form to write, in UTF-8."""
    formats: list[Form] = Field(default_factory=list, max_length=7)
    """Forms to write besides."""
    with_speakers: bool | None = None
    """Whether texts say who speaks; null: where those of the file do."""
    output_filename: FileBase = ""
    """File name without extension; empty: that of the file with `_fixed`."""
    language: str = Field("", max_length=35)
    """Language code of the text; `en` also mends what scanners make of English (l for I, 0 for o)."""
    chinese: Literal["simplified", "traditional"] | None = None
    """Brings Chinese to one script; null: leaves it."""
    typos: Annotated[dict[str, str], Field(max_length=5_000)] = Field(default_factory=dict)
    """What is wrong: what is right. Whole words, in Chinese and Japanese any place."""
    readable: bool = True
    """Whether cues also get the lines and the time that readers need, as far as there is room."""
    shot_changes: list[Seconds] = Field(default_factory=list, max_length=20_000)
    """Instants of cuts, in order, that cues should not flash over."""

    sync_to: MediaRef | None = None
    """Film or recording to whose speech the cues are moved: by an offset, a frame rate, and piece by piece where the film was cut.
    Cues that fit it nowhere clearly stay."""
    sync_cuts: bool = True
    """Whether pieces may be moved differently; false: all cues alike."""
    sync_rates: bool = True
    """Whether the cues may have been made for another frame rate."""
    sync_reach: float = Field(60.0, ge=1, le=600)
    """Farthest that cues are moved, in seconds."""

    @model_validator(mode="after")
    def _check_typos(self) -> Self:
        if "" in self.typos:
            raise ValueError("typos: what is wrong must not be empty")
        return self


class ConvertSubtitlesInput(RetimingInput):
    """Which subtitle file to write in which other forms."""

    model_config = ConfigDict(
        json_schema_extra=examples({"subtitle_path": "films/first.srt", "output_formats": ["vtt"]})
    )

    subtitle_path: MediaRef
    """The file, in any form and encoding."""
    encoding: str | None = Field(None, max_length=32)
    """The file's encoding; null: found by its bytes."""
    output_formats: list[Form] = Field(min_length=1, max_length=7)
    """Forms to write, in UTF-8."""
    output_filename: FileBase = ""
    """File name without extension; empty: that of the file."""
    with_speakers: bool = False
    """Whether texts say who speaks."""
    font: str = Field("Noto Sans CJK SC", min_length=1, max_length=100, pattern=r"^[^,\r\n]+$")
    """Font that ASS names."""


class CompareSubtitlesInput(TaskInput):
    """Which subtitle file to hold against which."""

    model_config = ConfigDict(
        json_schema_extra=examples({"subtitle_path": "films/first.srt", "reference_path": "films/first.srt"})
    )

    reference_path: MediaRef
    """What is right."""
    subtitle_path: MediaRef
    """What is judged."""
