"""Diarization node: finds who speaks when in a recording, and gives words their speakers.

A task here fetches, has a worker do the work, and stores; the engines are in the modules beside it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from media.audio import AudioOptions, extract_audio
from media.faults import FaultCode as MediaCode
from media.faults import MediaFault
from nodekit import Node, TaskContext, TaskFailed, through_deaths
from nodekit.models import model_store
from services.diarize import jobs
from services.diarize.engine import Step, Wanted
from services.diarize.engines import CAMPPLUS, SEGMENTATION, Choice, choose
from services.diarize.inputs import (
    AssignSpeakersInput,
    DiarizeSpeakersInput,
    GetSpeakerSegmentsInput,
    ValidateDiarizationInput,
)
from services.diarize.outputs import (
    AssignSpeakersOutput,
    DiarizeSpeakersOutput,
    GetSpeakerSegmentsOutput,
    RunStatistics,
    ScoreOutput,
    SpeakerStatistics,
    ValidateDiarizationOutput,
)
from services.diarize.settings import diarize_settings
from services.diarize.speakers import SpeakerCount

_DECODED_PERCENT = 10.0
_WORKED_PERCENT = 95.0


def _engines() -> list[str]:
    store = model_store()
    models = [f"{name}/{store.entry(name).version}" for name in (SEGMENTATION, CAMPPLUS) if store.has(name)]
    pipeline = diarize_settings().pipeline
    return [*models, "mfcc+f0/1", *([f"pyannote.audio/{pipeline.name}"] if pipeline else [])]


node = Node("pyannote_audio", engines=_engines)


@node.task("pyannote_audio.diarize_speakers", gpu=True, reuse_field="diarization_file")
async def diarize_speakers(request: DiarizeSpeakersInput, context: TaskContext) -> DiarizeSpeakersOutput:
    """Finds who speaks when in a recording."""
    choice = choose(request.engine, diarize_settings(), model_store(), context.threads)
    source = await context.fetch(request.audio_path)
    wave = context.output_path(f"{source.stem}.16k.wav")

    async def decoded(share: float) -> None:
        await context.progress(share * _DECODED_PERCENT, "decoding")

    with _faults():
        sound = await extract_audio(
            context, source, wave, AudioOptions(stream_index=request.stream_index), decoded
        )
    job = _job(request, context, wave, source.stem)
    outcome, statistics = await through_deaths(context, partial(_diarize, choice, job, context))
    await context.progress(_WORKED_PERCENT, "storing")
    return DiarizeSpeakersOutput(
        diarization_file=await context.store(job.result),
        rttm_file=await context.store(job.rttm),
        embeddings_file=await context.store(job.embeddings) if outcome.has_embeddings else None,
        detected_speakers=list(outcome.speakers),
        speaker_statistics={
            name: SpeakerStatistics(segments=one.segments, duration=round(one.duration, 3))
            for name, one in outcome.speakers.items()
        },
        total_speakers=len(outcome.speakers),
        total_segments=outcome.segments,
        summary=outcome.summary,
        audio_source=request.audio_path,
        engine=outcome.engine,
        engine_reason=choice.reason,
        model_name=outcome.model,
        device=outcome.device,
        statistics=statistics,
        warnings=list(sound.warnings),
    )


@node.task("pyannote_audio.get_speaker_segments", timeout_seconds=300)
async def get_speaker_segments(
    request: GetSpeakerSegmentsInput, context: TaskContext
) -> GetSpeakerSegmentsOutput:
    """Takes the segments of one speaker, or of all, out of a result."""
    path = await context.fetch(request.diarization_file)
    with _faults():
        fields = await context.call(jobs.speaker_segments, path, request.speaker)
    return GetSpeakerSegmentsOutput(**fields)


@node.task("pyannote_audio.validate_diarization", timeout_seconds=300, reuse_field="summary")
async def validate_diarization(
    request: ValidateDiarizationInput, context: TaskContext
) -> ValidateDiarizationOutput:
    """Checks a result for what a person should look at, and scores it where the truth is known."""
    path = await context.fetch(request.diarization_file)
    reference = await context.fetch(request.reference_file) if request.reference_file else None
    with _faults():
        checked, scored = await context.call(jobs.check, path, reference, request.recording, request.collar)
    score = scored and ScoreOutput(
        der=round(scored.der, 6),
        jer=round(scored.jer, 6),
        missed=round(scored.missed, 3),
        invented=round(scored.invented, 3),
        confused=round(scored.confused, 3),
        reference_seconds=round(scored.total, 3),
        speaker_count_error=scored.speaker_count_error,
    )
    return ValidateDiarizationOutput(**dataclasses.asdict(checked), score=score)


@node.task("pyannote_audio.assign_speakers", timeout_seconds=300, reuse_field="segments_file")
async def assign_speakers(request: AssignSpeakersInput, context: TaskContext) -> AssignSpeakersOutput:
    """Gives each word of a transcript its speaker."""
    transcript = await context.fetch(request.segments_file)
    diarization = await context.fetch(request.diarization_file)
    target = context.output_path(f"{transcript.stem}_speakers.json")
    with _faults():
        fields = await context.call(jobs.assign, transcript, diarization, target, request.max_gap)
    return AssignSpeakersOutput(segments_file=await context.store(target), **fields)


async def _diarize(choice: Choice, job: jobs.Job, context: TaskContext) -> tuple[jobs.Outcome, RunStatistics]:
    """Have the engine work; a second call goes on with the notes of the first, whose process has died."""
    outcome: jobs.Outcome | None = None
    async with context.warm(
        choice.key, choice.load, memory_mib=choice.memory_mib or 0, processor=choice.memory_mib is None
    ) as model:
        async for item in model.stream(jobs.diarize, job):
            if isinstance(item, Step):
                percent = _DECODED_PERCENT + (_WORKED_PERCENT - _DECODED_PERCENT) * item.share
                await context.progress(percent, item.stage)
            else:
                outcome = item
        assert outcome is not None
        context.worked_on(outcome.audio_seconds, outcome.seconds)
        return outcome, _statistics(outcome, model.load_seconds, warm=model.warm)


def _job(request: DiarizeSpeakersInput, context: TaskContext, wave: Path, stem: str) -> jobs.Job:
    count = SpeakerCount(
        exactly=request.num_speakers,
        at_least=request.min_speakers or 1,
        at_most=request.max_speakers,
        smallest_share=request.merge_speakers_below,
    )
    return jobs.Job(
        wave=wave,
        audio_path=request.audio_path,
        exclusive=request.exclusive,
        wanted=Wanted(count, request.min_duration_off),
        result=context.output_path("diarization_result.json"),
        rttm=context.output_path(f"{stem}.rttm"),
        embeddings=context.output_path("speaker_embeddings.json"),
        notes=context.output_directory("notes"),
    )


def _statistics(outcome: jobs.Outcome, load_seconds: float, *, warm: bool) -> RunStatistics:
    return RunStatistics(
        execution_time=round(outcome.seconds, 3),
        load_time=round(load_seconds, 3),
        model_warm=warm,
        audio_duration=round(outcome.audio_seconds, 3),
        realtime_factor=round(outcome.seconds / max(outcome.audio_seconds, 1e-3), 4),
    )


@contextmanager
def _faults() -> Iterator[None]:
    """Turn what is wrong with media into the task's failure."""
    try:
        yield
    except MediaFault as fault:
        if (
            fault.code is MediaCode.RANGE_OUTSIDE_MEDIA
        ):  # no span was asked for: the sound ends where it begins
            message = "the recording holds no sound"
            raise TaskFailed(MediaCode.OUTPUT_EMPTY.value, message, field="/audio_path") from fault
        field = "/stream_index" if fault.code is MediaCode.STREAM_NOT_FOUND else "/audio_path"
        # A full disk is not the recording's fault.
        raise TaskFailed(
            fault.code.value, fault.message, fault.retryable, "" if fault.retryable else field
        ) from fault
