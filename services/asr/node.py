"""Speech recognition node: hears what is said in audio and film, with the time of every word.

The task fetches, decodes, has a model's process hear, and stores; what hearing is stands in the modules beside it.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, aclosing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from media.faults import FaultCode as MediaCode
from media.faults import MediaFault
from nodekit import Node, TaskContext, TaskFailed, WarmModel, through_deaths
from nodekit.models import model_store
from services.asr.checkpoints import Progressed, from_checkpoint, to_checkpoint
from services.asr.engines import Choice, choose, has_cuda, installed_engines
from services.asr.feed import Feed
from services.asr.figures import AUDIO_SECONDS, DROPPED_WORDS, LOAD_SECONDS, REAL_TIME_FACTOR
from services.asr.inputs import TranscribeAudioInput
from services.asr.outputs import SpeechCoverage, Statistics, TranscribeAudioOutput
from services.asr.requests import to_options, to_wish
from services.asr.settings import AsrSection, asr_settings
from services.asr.sound import Sound, decode
from services.asr.sphinx import load_sphinx
from services.asr.transcript import Coverage
from services.asr.transcript_files import Writing, write_files
from services.asr.transcription import transcribe, translates_poorly
from services.asr.whisper import WhisperPlace, load_whisper

_DECODED_PERCENT, _HEARD_PERCENT = 5.0, 95.0
_MAX_MISSED = 100
_MAX_TEXT = 20_000
_WINDOWS_PER_CHECKPOINT = 4

node = Node("faster_whisper", engines=installed_engines)


@dataclass
class Hearing:
    """One attempt's work on a recording."""

    request: TranscribeAudioInput
    choice: Choice
    device: str
    sound: Sound
    progressed: Progressed
    resumed_at: float | None = None
    seconds: float = 0.0
    """How long it took to hear."""
    load_seconds: float = 0.0
    warnings: list[str] = field(default_factory=list)

    @property
    def names_words(self) -> bool:
        """Whether segments list their words."""
        short = self.request.word_timestamps
        return self.request.enable_word_timestamps if short is None else short


@node.task("faster_whisper.transcribe_audio", gpu=True, timeout_seconds=7200, reuse_field="segments_file")
async def transcribe_audio(request: TranscribeAudioInput, context: TaskContext) -> TranscribeAudioOutput:
    """Writes down what is said in audio or film, with the time of every word; segments come as events while it is heard."""
    settings = asr_settings()
    recording = await context.fetch(request.audio_path)
    with _faults():
        choice: Choice = await context.call(choose, to_wish(request, settings), model_store().root)
        await context.progress(1, "decoding")
        target = context.output_path("sound.s16")
        apart = request.channels == "apart"
        sound = await decode(context, recording, target, stream=request.audio_stream, apart=apart)
        device = await _device(request, choice, settings, context)
        of = _fingerprint(request, choice, sound)
        progressed = from_checkpoint(context.checkpoint, of)
        hearing = Hearing(
            request,
            choice,
            device,
            sound,
            progressed,
            resumed_at=min(progressed.positions.values(), default=None),
            warnings=[*choice.warnings, *sound.warnings],
        )
        await _hear(hearing, settings, context, of)
    return await _written(hearing, recording, context)


async def _device(
    request: TranscribeAudioInput, choice: Choice, settings: AsrSection, context: TaskContext
) -> str:
    wanted = request.device if request.device != "auto" else settings.device
    if choice.engine != "faster-whisper":
        return "cpu"
    if wanted != "auto":
        return wanted
    return "cuda" if await context.call(has_cuda) else "cpu"


async def _hear(hearing: Hearing, settings: AsrSection, context: TaskContext, fingerprint: str) -> None:
    """Have the model hear the recording, and once more from where it came to when its process dies."""
    await context.progress(_DECODED_PERCENT, "loading model")
    feed = Feed(context)
    await through_deaths(context, partial(_hear_on, hearing, settings, context, feed, fingerprint))
    await feed.drain()
    _count(hearing, context)


async def _hear_on(
    hearing: Hearing, settings: AsrSection, context: TaskContext, feed: Feed, fingerprint: str
) -> None:
    """Have one process hear from where the last one came to, and tell watchers and the next attempt of it."""
    done, sound = hearing.progressed, hearing.sound
    options = to_options(hearing.request, settings)
    async with _model(hearing, settings, context) as model:
        hearing.load_seconds += 0.0 if model.warm else model.load_seconds
        began = time.monotonic()
        async with aclosing(model.stream(transcribe, sound, options, done.positions)) as stream:
            number = 0
            async for heard in stream:
                done.segments += heard.segments
                done.positions[heard.channel] = heard.until
                done.coverage += heard.coverage
                done.dropped += heard.dropped
                await feed.add(_percent(done, sound), heard.segments)
                number += 1
                if number % _WINDOWS_PER_CHECKPOINT == 1:
                    # Packing an hour of words takes 150 ms of a processor, in which the node's loop must hear of a cancel.
                    checkpoint = await asyncio.to_thread(to_checkpoint, done, fingerprint)
                    if checkpoint is not None:
                        await context.save_checkpoint(checkpoint)
        hearing.seconds += time.monotonic() - began


def _model(
    hearing: Hearing, settings: AsrSection, context: TaskContext
) -> AbstractAsyncContextManager[WarmModel]:
    choice = hearing.choice
    if choice.folder is None:
        return context.warm("pocketsphinx", load_sphinx, processor=True)
    compute_type = hearing.request.compute_type
    place = WhisperPlace(
        choice.model,
        choice.folder,
        hearing.device,
        settings.compute_type if compute_type == "auto" else compute_type,
        context.threads,
    )
    load = partial(load_whisper, place)
    if hearing.device == "cpu":
        return context.warm(place.key, load, processor=True)
    return context.warm(place.key, load, memory_mib=settings.memory_mib)


def _percent(done: Progressed, sound: Sound) -> float:
    total = sound.seconds * sound.channels
    share = sum(done.positions.values()) / total if total else 1.0
    return _DECODED_PERCENT + (_HEARD_PERCENT - _DECODED_PERCENT) * min(1.0, share)


def _count(hearing: Hearing, context: TaskContext) -> None:
    labels = (hearing.choice.engine, hearing.choice.model, hearing.device)
    AUDIO_SECONDS.labels(*labels).inc(hearing.sound.seconds)
    DROPPED_WORDS.labels(*labels[:2]).inc(hearing.progressed.dropped)
    if hearing.load_seconds:
        LOAD_SECONDS.labels(*labels).observe(hearing.load_seconds)
    if hearing.resumed_at is None:
        context.worked_on(hearing.sound.seconds, hearing.seconds)
    if hearing.sound.seconds and hearing.resumed_at is None:
        REAL_TIME_FACTOR.labels(*labels).observe(hearing.seconds / hearing.sound.seconds)


async def _written(hearing: Hearing, recording: Path, context: TaskContext) -> TranscribeAudioOutput:
    """Write and store the files, and say what they hold."""
    done, request = hearing.progressed, hearing.request
    segments = sorted(done.segments, key=lambda segment: (segment.start, segment.channel or 0))
    languages: dict[str, float] = {}
    for segment in segments:
        languages[segment.language] = languages.get(segment.language, 0.0) + segment.end - segment.start
    if request.task == "translate":
        doubtful = [code for code in languages if translates_poorly(hearing.choice.model, code)]
        hearing.warnings += [f"{hearing.choice.model} translates {code!r} poorly" for code in doubtful]
    if done.coverage.missed:
        hearing.warnings.append(_missed(done.coverage))
    words = [word for segment in segments for word in segment.words]
    spoken = sum(languages.values())
    statistics = Statistics(
        total_segments=len(segments),
        total_words=len(words),
        transcribe_duration=round(hearing.seconds, 3),
        average_segment_duration=round(spoken / len(segments), 3) if segments else 0.0,
        unaligned_words=sum(not word.aligned for word in words),
        dropped_words=done.dropped,
    )
    language = max(languages, key=lambda code: languages[code], default="")
    writing = Writing(
        base=recording.stem or "transcript",
        json_name=f"transcribe_data_{secrets.token_hex(4)}.json",
        forms=tuple(request.formats),
        words=hearing.names_words,
        metadata=_metadata(hearing, language, context),
        statistics=statistics.model_dump(),
        duration=hearing.sound.seconds,
        line_width=request.max_line_width,
        line_count=request.max_line_count,
    )
    await context.progress(_HEARD_PERCENT, "storing")
    folder = context.output_directory("transcript")
    files: dict[str, Path] = await context.call(write_files, segments, folder, writing)
    stored = {form: await context.store(path) for form, path in files.items()}
    covered = done.coverage
    return TranscribeAudioOutput(
        segments_file=stored["json"],
        audio_duration=round(hearing.sound.seconds, 6),
        language=language,
        language_seconds={code: round(seconds, 3) for code, seconds in languages.items()},
        transcribe_duration=round(hearing.seconds, 3),
        model_load_duration=round(hearing.load_seconds, 3),
        model_name=hearing.choice.model,
        model_revision=hearing.choice.revision,
        engine=hearing.choice.engine,
        device=hearing.device,
        enable_word_timestamps=hearing.names_words,
        statistics=statistics,
        segments_count=len(segments),
        coverage=SpeechCoverage(
            speech_s_vad=round(covered.speech_seconds, 3),
            speech_s_text=round(covered.text_seconds, 3),
            missed=[list(span) for span in covered.missed[:_MAX_MISSED]],
        ),
        text="\n".join(segment.text for segment in segments)[:_MAX_TEXT],
        subtitle_path=stored.get("srt"),
        transcript_files=stored,
        resumed_at=hearing.resumed_at,
        warnings=hearing.warnings,
    )


def _missed(covered: Coverage) -> str:
    start, end = covered.missed[0]
    first = f"from {start:.1f} to {end:.1f} s"
    if len(covered.missed) == 1:
        return f"coverage.missed: speech {first} has no words, or too few for its length"
    return f"coverage.missed: speech in {len(covered.missed)} places has no words, or too few for its length; first {first}"


def _metadata(hearing: Hearing, language: str, context: TaskContext) -> dict[str, Any]:
    return {
        "task_name": "faster_whisper.transcribe_audio",
        "workflow_id": context.workflow_id,
        "audio_file": hearing.request.audio_path[:1024],
        "total_duration": round(hearing.sound.seconds, 6),
        "language": language,
        "word_timestamps_enabled": hearing.names_words,
        "model_name": hearing.choice.model,
        "device": hearing.device,
        "transcribe_method": hearing.choice.engine,
        "created_at": datetime.now(UTC).isoformat(),
    }


def _fingerprint(request: TranscribeAudioInput, choice: Choice, sound: Sound) -> str:
    """Name what is heard and how, so that no attempt goes on with the work of another."""
    what = (request.model_dump_json(), choice.engine, choice.model, sound.samples, sound.channels)
    return hashlib.sha256(repr(what).encode()).hexdigest()[:16]


@contextmanager
def _faults() -> Iterator[None]:
    """Turn what is wrong with the recording into the task's failure."""
    try:
        yield
    except MediaFault as fault:
        field = "/audio_stream" if fault.code is MediaCode.STREAM_NOT_FOUND else "/audio_path"
        # A full disk is not the recording's fault.
        raise TaskFailed(
            fault.code.value, fault.message, fault.retryable, "" if fault.retryable else field
        ) from fault
