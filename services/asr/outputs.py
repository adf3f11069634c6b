"""What `faster_whisper.transcribe_audio` gives: the origin's fields first. Times are seconds on the recording's clock."""

from __future__ import annotations

from nodekit import MediaRef, TaskOutput


class Statistics(TaskOutput):
    """Figures of a transcript."""

    total_segments: int
    """Segments."""
    total_words: int
    """Words; in scripts without spaces, tokens."""
    transcribe_duration: float
    """Seconds that hearing took."""
    average_segment_duration: float
    """Mean length of a segment; 0 when there is none."""
    unaligned_words: int
    """Words whose times were spread, not measured."""
    dropped_words: int
    """Words that were not believed: on silence, or in a loop."""


class SpeechCoverage(TaskOutput):
    """How much of the speech has words."""

    speech_s_vad: float
    """Speech that the voice activity detector heard; 0 without `vad_filter`."""
    speech_s_text: float
    """How much of it lies under segments."""
    missed: list[list[float]]
    """Speech of a second or more in which no word was heard, or far too few for its length: start and end; the first hundred."""


class TranscribeAudioOutput(TaskOutput):
    """The transcript."""

    segments_file: MediaRef
    """JSON `{metadata, segments, statistics}` in the origin's form: segments with words, probabilities and languages."""
    audio_duration: float
    """Length of the recording."""
    language: str
    """The language that most is said in; empty when nothing is said."""
    language_seconds: dict[str, float]
    """Seconds under segments of each language."""
    transcribe_duration: float
    """Seconds that hearing took, without loading the model."""
    model_load_duration: float
    """Seconds that loading the model took; 0 when it was loaded already."""
    model_name: str
    """The model that heard."""
    model_revision: str
    """Its version; empty for a folder of one's own."""
    engine: str
    """The engine that heard."""
    device: str
    """Where: cpu or cuda."""
    enable_word_timestamps: bool
    """Whether segments list their words."""
    statistics: Statistics
    """Figures."""
    segments_count: int
    """Segments."""
    coverage: SpeechCoverage
    """How much of the speech has words."""
    text: str
    """The text, a line for each segment; the first 20,000 characters."""
    subtitle_path: MediaRef | None
    """SRT; null when it was not asked for."""
    transcript_files: dict[str, MediaRef]
    """All files by form: `json`, and those of `formats`."""
    resumed_at: float | None
    """Where an earlier attempt's work was taken over up to; null: heard from the beginning."""
    warnings: list[str]
    """What the caller should know: a lesser model, a doubtful translation, speech without words."""
