"""What the tasks take."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from nodekit import MediaRef, TaskInput, examples


class SpeechSegment(TaskInput):
    """One segment to speak."""

    text: str = Field(min_length=1, max_length=5_000)
    """What to say."""
    voice: str = Field("", max_length=64)
    """Voice; empty: the task's."""
    pause_after: float | None = Field(None, ge=0, le=30)
    """Silence behind it in seconds; null: the task's."""


class GenerateSpeechInput(TaskInput):
    """What to say, and how."""

    model_config = ConfigDict(json_schema_extra=examples({"text": "Good morning.", "language": "en"}))

    text: str = Field("", max_length=200_000)
    """What to say; lines are paragraphs."""
    segments: list[SpeechSegment] = Field([], max_length=2_000)
    """What to say, piece by piece, in place of `text`."""
    output_path: str = Field("", max_length=500)
    """The origin's field: its file name, without folders, is what the result is called."""
    voice: str = Field("", max_length=64)
    """A name of `indextts.list_voice_presets`; empty: the language's default."""
    language: str = Field("", pattern=r"^([a-z]{2,3})?$")
    """Language (zh, en, es, fr, it, pt; others as espeak-ng knows them); empty: told by the script."""
    engine: Literal[
        "auto", "kokoro", "hibari", "gptsovits", "cosyvoice", "indextts2", "flite", "espeak-ng"
    ] = "auto"
    """auto: with a reference IndexTTS2 or a speech server, where configured; else hibari for English, Kokoro for its languages, and
    espeak-ng for all others."""
    spk_audio_prompt: MediaRef | None = None
    """Recording of the voice to speak with; needs a speech server (`tts.gptsovits_url`, `tts.cosyvoice_url`)."""
    reference_audio: MediaRef | None = None
    """The same, by the origin's other name."""
    speaker_audio: MediaRef | None = None
    """The same."""
    prompt_text: str = Field("", max_length=1000)
    """What is said in the reference."""
    emo_audio_prompt: MediaRef | None = None
    """The origin's field for IndexTTS2: a recording of the emotion; other engines do not use it, and a warning says so."""
    emotion_alpha: Annotated[float, Field(ge=0, le=1)] = 1.0
    """The same: strength of the emotion."""
    emotion_vector: Annotated[list[float], Field(min_length=8, max_length=8)] | None = None
    """The same: happy, angry, sad, afraid, disgusted, low, surprised, calm."""
    emotion_text: str = Field("", max_length=1000)
    """The same: the emotion in words."""
    use_emo_text: bool = False
    """The same."""
    use_random: bool = False
    """The same."""
    max_text_tokens_per_segment: int = Field(120, ge=10, le=1000)
    """The origin's field; text tokens that IndexTTS2 says at once; without effect on other engines."""
    verbose: bool = False
    """The origin's field, without effect."""
    seed: int = Field(0, ge=0, le=2**31 - 1)
    """The same text and seed give the same speech, with engines that vary (hibari, IndexTTS2)."""
    speed: float = Field(1.0, ge=0.5, le=2.0)
    """1 is ordinary."""
    target_duration: float | None = Field(None, gt=0.1, le=36_000)
    """Seconds that the speech should last: it is stretched by 0.85 to 1.25 and, if still short, padded with silence."""
    free_stretch: bool = False
    """Whether it may be stretched beyond that."""
    sample_rate: Literal[8000, 16000, 22050, 24000, 32000, 44100, 48000] = 24000
    """Samples a second."""
    loudness: Annotated[float, Field(ge=-40, le=-9)] | None = -16.0
    """Integrated loudness in LUFS, -16 for the web, -23 for broadcast; null: as the engine speaks."""
    silence_between: float = Field(0.25, ge=0, le=10)
    """Pause between sentences in seconds."""
    paragraph_pause: float = Field(0.6, ge=0, le=30)
    """Pause between paragraphs and segments in seconds."""
    output_format: Literal["wav", "flac", "mp3", "opus", "m4a"] = "wav"
    """Form of the file."""
    verify: bool = False
    """Whether the speech is heard again; one that is cut off, repeated or garbled fails with SPEECH_DIFFERS."""
    stream: bool = False
    """Whether each sentence is also stored by itself as soon as it is spoken, and told in the task's progress."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if bool(self.text.strip()) == bool(self.segments):
            raise ValueError("give either text or segments")
        return self

    def references(self) -> tuple[tuple[str, str | None], ...]:
        """The fields that may have the recording of the voice to speak with, the one that wins first."""
        names = ("spk_audio_prompt", "reference_audio", "speaker_audio")
        return tuple((name, getattr(self, name)) for name in names)


class AskInput(TaskInput):
    """Nothing to say."""

    model_config = ConfigDict(json_schema_extra=examples({}))
