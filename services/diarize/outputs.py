"""What the tasks give. Times are seconds on the recording's clock."""

from __future__ import annotations

from typing import Literal

from nodekit import MediaRef, TaskOutput


class SpeakerStatistics(TaskOutput):
    """What one speaker's segments come to."""

    segments: int
    duration: float
    """Seconds."""
    words: int = 0
    """Always 0: words are counted by assign_speakers."""


class RunStatistics(TaskOutput):
    """What the work took."""

    execution_time: float
    """Seconds of work, without loading."""
    load_time: float
    """Seconds that loading the engine took, whenever that was."""
    model_warm: bool
    """Whether it was loaded already."""
    audio_duration: float
    """Seconds of the recording."""
    realtime_factor: float
    """Seconds of work for each second of the recording."""


class DiarizeSpeakersOutput(TaskOutput):
    """Who spoke when."""

    diarization_file: MediaRef
    """The result: JSON with segments, one speaker at a time as well, and statistics."""
    rttm_file: MediaRef
    """The segments as RTTM."""
    embeddings_file: MediaRef | None = None
    """One vector for each speaker, JSON; null: the engine has none."""
    detected_speakers: list[str]
    """SPEAKER_00 and so on, in the order in which they are first heard."""
    speaker_statistics: dict[str, SpeakerStatistics]
    """Each speaker's sum."""
    total_speakers: int
    total_segments: int
    summary: str
    """One sentence for people."""
    execution_method: Literal["subprocess"] = "subprocess"
    """How it was done: always in a process of its own."""
    audio_source: str
    """The recording, as it was named."""
    api_type: Literal["free"] = "free"
    """No paid service is used."""
    use_paid_api: Literal[False] = False
    """No paid service is used."""
    engine: str
    """Which engine did it."""
    engine_reason: str
    """Why that one."""
    model_name: str
    """Its weights and their version."""
    device: str
    """cpu or cuda."""
    statistics: RunStatistics
    """What it took."""
    warnings: list[str]
    """What is odd about the recording."""


class SpeakerSegment(TaskOutput):
    """One stretch of one speaker."""

    start: float
    end: float
    speaker: str
    duration: float


class GetSpeakerSegmentsOutput(TaskOutput):
    """The segments asked for."""

    segments: list[SpeakerSegment]
    """In order of start; at most 5,000 are listed, `total_segments` counts all."""
    summary: str
    """One sentence for people."""
    total_segments: int
    speaker_filter: str | None = None
    """The speaker asked for."""
    speaker_statistics: dict[str, int] | None = None
    """Segments of each speaker, when none was asked for."""


class ScoreOutput(TaskOutput):
    """How well the result agrees with the truth."""

    der: float
    """Diarization error rate: missed, invented and confused time over the reference's speaker time."""
    jer: float
    """Jaccard error rate, without collar."""
    missed: float
    """Seconds."""
    invented: float
    """Seconds."""
    confused: float
    """Seconds."""
    reference_seconds: float
    """Speaker time of the reference."""
    speaker_count_error: int
    """Speakers of the result minus those of the reference."""


class ValidateDiarizationOutput(TaskOutput):
    """What the checks say."""

    valid: bool
    """Whether there is no issue."""
    total_segments: int
    total_speakers: int
    total_duration: float
    """Seconds of all segments together."""
    avg_segment_duration: float
    """Seconds."""
    issues: list[str]
    """What a person should look at."""
    summary: str
    """One sentence for people."""
    score: ScoreOutput | None = None
    """When there was a reference."""


class AssignSpeakersOutput(TaskOutput):
    """A transcript that says who speaks."""

    segments_file: MediaRef
    """The transcript, with `speaker` in every segment and word."""
    total_segments: int
    total_words: int
    unassigned_words: int
    """Words with nobody near."""
    segments_with_changes: int
    """Segments in which more than one speaker has words."""
    speaker_word_counts: dict[str, int]
    """Words of each speaker."""
