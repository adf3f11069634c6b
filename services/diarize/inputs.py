"""What the tasks take. Times are seconds on the recording's clock."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator

from nodekit import MediaRef, TaskInput, examples
from services.diarize.settings import EngineName

SpeakerNumber = Annotated[int, Field(ge=1, le=50)]


class DiarizeSpeakersInput(TaskInput):
    """Which recording to find the speakers of, and what is known about them."""

    model_config = ConfigDict(json_schema_extra=examples({"audio_path": "films/first.mp4"}))

    audio_path: MediaRef
    """The recording: an audio file, or a film whose sound is taken."""
    num_speakers: SpeakerNumber | None = None
    """How many speak, if that is known; null: it is found out."""
    min_speakers: SpeakerNumber | None = None
    """At least so many speak."""
    max_speakers: SpeakerNumber | None = None
    """At most so many speak."""
    exclusive: bool = False
    """Whether `segments` has one speaker at a time; the file has that as `exclusive_segments` in any case."""
    min_duration_off: float = Field(0.3, ge=0, le=10)
    """Shorter pauses of one speaker are closed, in seconds."""
    merge_speakers_below: float = Field(0.03, ge=0, lt=0.5)
    """A speaker with a smaller share of the speech is taken for a phantom, whose speech goes to the likest other one."""
    engine: EngineName = "auto"
    """pyannote: a pipeline folder; neural: segmentation-3.0 and CAM++; mfcc: without weights; auto: as the node is set."""
    stream_index: int | None = Field(None, ge=0, le=1000)
    """The stream's number in the file; null: the first audio stream."""
    hf_token: str | None = Field(None, max_length=200)
    """Accepted for clients of the origin system; without effect: models are in the model store."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.num_speakers is not None and (self.min_speakers or self.max_speakers):
            raise ValueError("num_speakers excludes min_speakers and max_speakers")
        if self.min_speakers and self.max_speakers and self.min_speakers > self.max_speakers:
            raise ValueError("min_speakers must not be greater than max_speakers")
        return self


class GetSpeakerSegmentsInput(TaskInput):
    """Whose segments to take out of which result."""

    model_config = ConfigDict(json_schema_extra=examples({"diarization_file": "films/first.rttm"}))

    diarization_file: MediaRef
    """A result of diarize_speakers, or RTTM."""
    speaker: str | None = Field(None, max_length=200)
    """The speaker; one that the result does not have gives an empty list. null: all."""


class ValidateDiarizationInput(TaskInput):
    """Which result to check."""

    model_config = ConfigDict(json_schema_extra=examples({"diarization_file": "films/first.rttm"}))

    diarization_file: MediaRef
    """A result of diarize_speakers, or RTTM."""
    reference_file: MediaRef | None = None
    """The truth, RTTM or JSON; the result is then scored against it."""
    recording: str = Field("", max_length=200)
    """Which recording of an RTTM with several is meant."""
    collar: float = Field(0.0, ge=0, le=5)
    """Seconds on each side of every edge of the reference that are not scored; the field's usual collar is 0.25."""


class AssignSpeakersInput(TaskInput):
    """Which transcript to give which speakers."""

    model_config = ConfigDict(
        json_schema_extra=examples(
            {"segments_file": "films/first.json", "diarization_file": "films/first.rttm"}
        )
    )

    segments_file: MediaRef
    """The transcript: JSON with `segments`, each with times and, best, `words` with times."""
    diarization_file: MediaRef
    """A result of diarize_speakers, or RTTM."""
    max_gap: float = Field(1.0, ge=0, le=60)
    """A word that nobody's turn covers goes to the nearest turn at most so many seconds away."""
