"""What the tasks give. Times are seconds; counts of violations are by kind (`subtitles.readability.Violation`)."""

from __future__ import annotations

from typing import Any

from nodekit import MediaRef, TaskOutput


class GenerateSubtitleFilesOutput(TaskOutput):
    """The subtitles."""

    subtitle_path: MediaRef
    """SRT."""
    json_path: MediaRef
    """JSON of all cues."""
    speaker_srt_path: MediaRef | None
    """SRT with speakers; null when nobody is named."""
    speaker_json_path: MediaRef | None
    """JSON of all cues with speakers; null when nobody is named."""
    subtitle_files: dict[str, MediaRef]
    """All files by their use: `basic` (SRT), `json`, `with_speakers` (SRT whose texts begin with `[SPEAKER] `) when somebody is
    named, `word_timestamps` (JSON) when words have times, and `vtt`, `ass`, `ttml`, `lrc`, `txt` as asked for."""
    total_cues: int
    """Cues."""
    audio_duration: float
    """Seconds: what was given, or the end of the last segment."""
    violations_before: dict[str, int]
    """What would be hard to read if each segment were a cue, by kind."""
    violations_after: dict[str, int]
    """What is hard to read in the files; speech that is faster than anybody reads stays."""


class MergeSummary(TaskOutput):
    """What went into a merge."""

    transcript_segments_count: int
    """Segments of the transcript."""
    speaker_segments_count: int
    """Turns."""
    merged_segments_count: int
    """Segments that came out."""
    data_source: str
    """Name of the transcript."""


class MergedOutput(TaskOutput):
    """Segments with speakers."""

    merged_segments_file: MediaRef
    """JSON `{merged_segments: […]}`."""
    merged_segments: list[dict[str, Any]] | None
    """The same inline; null when there are more than 2,000, or more than 256 KiB."""
    input_summary: MergeSummary
    """What went in."""


class MergeSpeakerBasedSubtitlesOutput(TaskOutput):
    """A text for each turn."""

    merged_segments_file: MediaRef
    """JSON `{merged_segments: […]}`, one for each turn."""
    total_segments: int
    """Turns."""
    matched_segments: int
    """Turns in which something is said."""
    empty_segments: int
    """Turns without a word."""


class PrepareSummary(TaskOutput):
    """What went into a preparation."""

    original_segments_count: int
    """Segments that came in."""
    prepared_segments_count: int
    """Segments that came out."""
    data_source: str
    """Where they came from."""


class PrepareTtsSegmentsOutput(TaskOutput):
    """Segments to speak."""

    prepared_segments: list[dict[str, Any]] | None
    """`[{id, start, end, duration, text, speaker, words}]`; null when there are more than 2,000, or more than 256 KiB."""
    prepared_segments_file: MediaRef
    """JSON `{prepared_segments: […]}`."""
    source_stage: str
    """Name of the input field that they came from."""
    total_segments: int
    """Segments."""
    input_summary: PrepareSummary
    """What went in."""


class CharacterLimit(TaskOutput):
    """How the lines keep the limit."""

    max_allowed: int
    """Characters a line."""
    compliance_rate: float
    """Share of lines within it, 0 to 1."""
    over_limit_count: int
    """Lines that are one long word."""


class SegmentStatistics(TaskOutput):
    """Figures of a cut text."""

    pysbd_sentences: int
    """Sentences (the name is the origin's)."""
    final_segments: int
    """Lines."""
    expansion_ratio: float
    """Lines for each sentence."""
    character_limit: CharacterLimit
    """How the lines keep the limit."""
    has_timestamps: bool
    """Whether the lines are timed."""


class SegmentSubtitlesOutput(TaskOutput):
    """A text cut into lines."""

    segmented_subtitle_file: MediaRef
    """SRT when words had times, else text, a line each."""
    segmented_subtitle_pysbd_file: MediaRef
    """The sentences, a line each."""
    statistics: SegmentStatistics
    """Figures."""


class RebuildSubtitleOutput(TaskOutput):
    """A corrected text with times."""

    optimized_segments_file: MediaRef
    """JSON `{segments: […]}`."""
    report_file: MediaRef | None
    """JSON of the alignment; null unless asked for."""
    total_segments: int
    """Segments."""
    alignment_ratio: float
    """Share of the words of both texts that stayed, 0 to 1."""


class SyncPiece(TaskOutput):
    """Cues that were moved alike: new time = time × rate + offset."""

    first: int
    """Number of its first cue, from 1, when all else was mended."""
    last: int
    """Number of its last cue."""
    rate: float
    """Rate."""
    offset_seconds: float
    """Offset."""


class SyncReport(TaskOutput):
    """How cues were moved to the speech."""

    moved: bool
    """False: they are in time, or fit the recording nowhere clearly, and stay."""
    fit: float
    """How well they fit at their best: to 0.2 chance, from 0.3 on sure."""
    pieces: list[SyncPiece]
    """How each piece was moved, at most 1,000; empty when nothing was."""


class FixSubtitlesOutput(TaskOutput):
    """A mended file."""

    fixed_subtitle_path: MediaRef
    """The file, in UTF-8."""
    subtitle_files: dict[str, MediaRef]
    """All, by form."""
    report_path: MediaRef
    """JSON with every change and its reason."""
    encoding: str
    """Encoding that the file had."""
    format: str
    """Form that the file had."""
    cues_before: int
    """Cues that came in."""
    cues_after: int
    """Cues that came out."""
    changes: dict[str, int]
    """How many changes there are of each kind."""
    violations_before: dict[str, int]
    """What was invalid or hard to read."""
    violations_after: dict[str, int]
    """What still is hard to read."""
    sync: SyncReport | None = None
    """How cues were moved to the speech; null unless asked for."""


class ConvertSubtitlesOutput(TaskOutput):
    """The cues in other forms."""

    subtitle_path: MediaRef
    """The first form."""
    subtitle_files: dict[str, MediaRef]
    """All, by form."""
    total_cues: int
    """Cues."""
    format: str
    """Form that the file had."""
    encoding: str
    """Encoding that the file had."""


class CompareSubtitlesOutput(TaskOutput):
    """How far a file is from its reference."""

    report_path: MediaRef
    """JSON of the scores and of every cue without a partner."""
    cer: float
    """Character error rate; spaces, punctuation and case do not count."""
    wer: float
    """Word error rate; by characters where these are words."""
    reference_cues: int
    """Cues of the reference."""
    hypothesis_cues: int
    """Cues of the file."""
    matched: int
    """Pairs that share time and are alike."""
    exact: int
    """Pairs that say the same."""
    missed: int
    """Cues of the reference without a partner."""
    phantom: int
    """Cues of the file without a partner."""
    start_error_p50: float | None
    """Seconds, absolute; null when nothing matched."""
    start_error_p95: float | None
    """Seconds, absolute."""
    end_error_p50: float | None
    """Seconds, absolute."""
    end_error_p95: float | None
    """Seconds, absolute."""
    error_max: float | None
    """Seconds, absolute, of starts and ends."""
