"""What the tasks give. Times are seconds."""

from __future__ import annotations

from nodekit import MediaRef, TaskOutput


class TranscribeStatistics(TaskOutput):
    """Figures of a transcript, as the origin has them."""

    total_segments: int
    """Segments."""
    total_words: int
    """Words."""
    transcribe_duration: float
    """Seconds that recognition took, without loading the model."""
    average_segment_duration: float
    """Seconds."""


class LanguageShare(TaskOutput):
    """How much of the speech is in a language."""

    language: str
    """Language code."""
    seconds: float
    """Seconds of speech."""


class Coverage(TaskOutput):
    """How much of what was spoken became text. Much less than 1 means that something was missed."""

    speech_seconds: float
    """Seconds of speech that the voice detector found."""
    text_seconds: float
    """Seconds that words cover."""
    ratio: float
    """Text by speech, 0 to 1; 1 when nobody speaks."""
    windows: int
    """Windows that were decoded."""
    windows_repeated: int
    """Those that failed and were decoded again."""
    words_dropped: int
    """Words left out because nobody speaks where the model put them."""


class TranscribeAudioOutput(TaskOutput):
    """The transcript."""

    segments_file: MediaRef
    """JSON of all segments and words."""
    audio_duration: float
    """Seconds of the recording."""
    language: str
    """Language of most of the speech; empty when nobody speaks."""
    languages: list[LanguageShare]
    """All languages, the most spoken first."""
    transcribe_duration: float
    """Seconds that recognition took, without loading the model."""
    load_seconds: float
    """Seconds that loading the model took; 0 when it was loaded."""
    model_name: str
    """Name of the model."""
    model_revision: str
    """Its version: the first letters of its weights' digest; empty for a folder of your own."""
    engine: str
    """What ran the model, with its version."""
    device: str
    """cpu or cuda."""
    enable_word_timestamps: bool
    """Whether the files have words."""
    statistics: TranscribeStatistics
    """Figures."""
    segments_count: int
    """Segments."""
    coverage: Coverage
    """How much of the speech became text."""
    subtitle_path: MediaRef | None
    """SRT, if asked for."""
    text_files: dict[str, MediaRef]
    """The files asked for, by form."""
