"""Two small nodes with the names and fields of the ones that hear and speak.

The one that hears takes a text file for a recording: each line is a segment of a second. A line `wait` waits to be stopped.
"""

from __future__ import annotations

import asyncio
import json
import wave
from typing import Any, Literal

from nodekit import MediaRef, Node, TaskContext, TaskFailed, TaskInput, TaskOutput

hearing = Node("faster_whisper", slots=2)
speaking = Node("indextts", slots=2)


class HearInput(TaskInput):
    """What to hear."""

    audio_path: MediaRef
    """The recording."""
    model: str = "auto"
    """Model."""
    language: str | None = None
    """Language."""
    multilingual: bool = True
    """Whether languages may change."""
    task: Literal["transcribe", "translate"] = "transcribe"
    """What to do."""
    initial_prompt: str | None = None
    """Said before."""
    temperature: tuple[float, ...] = (0.0,)
    """Temperatures."""
    formats: tuple[Literal["srt", "vtt"], ...] = ()
    """Files."""


class HearOutput(TaskOutput):
    """The transcript."""

    segments_file: MediaRef
    """JSON."""
    audio_duration: float
    """Seconds."""
    language: str
    """Language."""
    transcript_files: dict[str, MediaRef]
    """Files by form."""


@hearing.task("faster_whisper.transcribe_audio")
async def transcribe(request: HearInput, context: TaskContext) -> HearOutput:
    """Reads lines."""
    lines = (await context.fetch(request.audio_path)).read_text().splitlines()
    if lines == ["noise"]:
        raise TaskFailed("MEDIA_UNREADABLE", "there is nothing to hear", field="/audio_path")
    if request.model == "nobody-has-this":
        raise TaskFailed("MODEL_MISSING", "the model is not here", field="/model")
    rows: list[dict[str, Any]] = []
    for number, text in enumerate(lines):
        if text == "wait":
            await asyncio.Event().wait()
        said = f"{request.initial_prompt or ''}{text}"
        word = {"word": f" {said}", "start": number, "end": number + 1, "probability": 1.0}
        rows.append({"id": number, "start": number, "end": number + 1, "text": said, "words": [word]})
        await context.progress(50, "transcribing", data={"segments": [rows[-1]]})
    table = context.output_path("transcript.json")
    table.write_text(json.dumps({"segments": rows}))
    files = {}
    for form in request.formats:
        path = context.output_path(f"transcript.{form}")
        path.write_text(f"{form}: {request.task}\n")
        files[form] = await context.store(path)
    return HearOutput(
        segments_file=await context.store(table),
        audio_duration=float(len(rows)),
        language=request.language or "en",
        transcript_files=files,
    )


class SpeakInput(TaskInput):
    """What to say."""

    text: str
    """The text."""
    voice: str = ""
    """Voice."""
    speed: float = 1.0
    """Speed."""
    sample_rate: int = 24_000
    """Samples a second."""
    output_format: Literal["wav", "flac", "mp3", "opus", "m4a"] = "wav"
    """Form."""


class SpeakOutput(TaskOutput):
    """The speech."""

    audio_path: MediaRef
    """The file."""


@speaking.task("indextts.generate_speech")
async def speak(request: SpeakInput, context: TaskContext) -> SpeakOutput:
    """Writes the text's bytes as samples; other formats than WAV are those bytes alone."""
    path = context.output_path(f"speech.{request.output_format}")
    content = f"{request.voice}|{request.speed}|{request.text}".encode()
    if request.output_format == "wav":
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(1)
            file.setframerate(request.sample_rate)
            file.writeframes(content)
    else:
        path.write_bytes(content)
    return SpeakOutput(audio_path=await context.store(path))
