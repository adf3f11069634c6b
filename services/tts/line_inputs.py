"""What `indextts.speak_lines` takes."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import ConfigDict, Field, model_validator

from nodekit import MediaRef, TaskInput, examples


class SpokenLine(TaskInput):
    """One line of a film."""

    start: float = Field(ge=0, le=360_000)
    """Second at which it begins."""
    end: float = Field(gt=0, le=360_000)
    """Second at which it ends."""
    text: str = Field(min_length=1, max_length=5_000)
    """What is said."""
    speaker: str = Field("", max_length=100)
    """Who says it; empty: nobody in particular."""


class SpeakLinesInput(TaskInput):
    """The lines of a film, to be spoken in its time."""

    model_config = ConfigDict(
        json_schema_extra=examples(
            {
                "lines": [{"start": 0.5, "end": 2.5, "text": "Good morning.", "speaker": "SPEAKER_00"}],
                "language": "en",
            }
        )
    )

    lines: list[SpokenLine] | None = Field(None, max_length=2_000)
    """The lines, inline."""
    lines_path: MediaRef | None = None
    """Their file in their place: subtitles in any form, or the JSON that transcripts, merges, translations and
    `wservice.prepare_tts_segments` give."""
    duration: float = Field(0, ge=0, le=360_000)
    """Length of the film in seconds; 0: until the end of the last line."""
    language: str = Field("", pattern=r"^([a-z]{2,3}(-[A-Za-z]{2,4})?)?$")
    """Language of the lines; empty: told by the script."""
    engine: Literal["auto", "kokoro", "hibari", "flite", "espeak-ng"] = "auto"
    """As in `indextts.generate_speech`."""
    voices: dict[str, str] = Field({}, max_length=100)
    """Voices by speaker; who is not named here gets one of the language that no other speaker has, while there are any."""
    seed: int = Field(0, ge=0, le=2**31 - 1)
    """As in `indextts.generate_speech`."""
    borrow_seconds: float = Field(1.0, ge=0, le=10)
    """How far a line may go on into the pause behind it."""
    gap_seconds: float = Field(0.08, ge=0, le=2)
    """Silence that stays before the next line."""
    shorten: bool = True
    """Whether a line that is too long all the same is said in fewer words: asides and fillers go, then clauses from its end."""
    sample_rate: Literal[16000, 22050, 24000, 44100, 48000] = 24000
    """Samples a second of the track."""
    output_filename: str = Field("", max_length=200)
    """What the track is called; empty: voices."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.lines is None) == (self.lines_path is None):
            raise ValueError("give either lines or lines_path")
        return self
