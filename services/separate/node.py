"""Separation node: takes voices out of music and noise, and gives what is left.

A task here decodes, has an engine work in its own process, and stores; the engines are in the modules beside it.
"""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.util import find_spec

from media.faults import FaultCode as MediaCode
from media.faults import MediaFault
from nodekit import Node, TaskContext, TaskFailed
from nodekit.gpu.devices import find_devices
from nodekit.models import model_store
from services.separate.engines import DEEPFILTERNET, choose
from services.separate.inputs import EnhanceSpeechInput, HealthCheckInput, SeparateVocalsInput
from services.separate.listening import SoundContent
from services.separate.outputs import (
    EnhanceSpeechOutput,
    HealthCheckOutput,
    MemoryUsage,
    RunStatistics,
    SeparateVocalsOutput,
)
from services.separate.separation import Mix, decode_mix, encode, hear, separate
from services.separate.settings import EngineName, SeparateSection, separate_settings

_STRENGTH_DB = 40.0
_SPEECH_ONLY = SeparateSection(engine="deepfilternet")
_STORING_PERCENT = 95.0


def _engines() -> list[str]:
    store = model_store()
    found = ["repet/1"]
    if store.has(DEEPFILTERNET):
        found.append(f"{DEEPFILTERNET}/{store.entry(DEEPFILTERNET).version}")
    if separate_settings().roformer_folder and find_spec("audio_separator"):
        found.append("roformer/1")
    if separate_settings().demucs_folder and find_spec("demucs"):
        found.append("demucs/4")
    return found


node = Node("audio_separator", engines=_engines)


@node.task("audio_separator.separate_vocals", gpu=True, timeout_seconds=7200, reuse_field="vocal_audio")
async def separate_vocals(request: SeparateVocalsInput, context: TaskContext) -> SeparateVocalsOutput:
    """Parts a recording into voices and the rest; both together are the recording."""
    with _faults():
        mix = await decode_mix(context, request.audio_path, request.stream_index, request.output_format)
        engine: EngineName = request.engine
        if engine == "auto" and request.setting("model_type") == "demucs":
            engine = "demucs"
        settings = separate_settings()
        no_folder = settings.roformer_folder is None and settings.demucs_folder is None
        undecided = engine == settings.engine == "auto" and no_folder
        asked = request.only_when == "music_is_loud"
        heard = await hear(context, mix) if undecided or asked else None
        if asked and heard is not None and not heard.is_music_loud:
            context.skipped = True
            return _not_parted(request, mix, heard)
        choice = choose(
            engine,
            settings,
            model_store(),
            context.threads,
            heard=heard,
            model=request.setting("model_name") or "",
            quality=request.setting("quality_mode"),
        )
        made = await separate(context, mix, choice)
        assert made.rest is not None
        tag = f"{mix.stem}_({{}})_{made.engine}"
        voices = await encode(context, mix, made.voices, tag.format("Vocals"), request.output_format)
        rest = await encode(context, mix, made.rest, tag.format("Instrumental"), request.output_format)
    await context.progress(_STORING_PERCENT, "storing")
    stored = [await context.store(voices), await context.store(rest)]
    return SeparateVocalsOutput(
        vocal_audio=stored[0],
        instrumental_audio=stored[1],
        all_audio_files=stored,
        parted=True,
        model_used=made.model if made.model != "none" else made.engine,
        quality_mode=request.setting("quality_mode"),
        engine=made.engine,
        engine_reason=choice.reason,
        heard=heard.as_dict() if heard else None,
        gain=made.figures.gain,
        vocal_level_db=made.figures.voice_db,
        instrumental_level_db=made.figures.rest_db,
        device=made.device,
        sound=mix.facts(),
        warnings=list(mix.warnings),
        statistics=made.statistics,
    )


def _not_parted(request: SeparateVocalsInput, mix: Mix, heard: SoundContent) -> SeparateVocalsOutput:
    """Return the recording itself, whose music is not loud."""
    return SeparateVocalsOutput(
        vocal_audio=request.audio_path,
        instrumental_audio=None,
        all_audio_files=[request.audio_path],
        parted=False,
        model_used="none",
        quality_mode=request.setting("quality_mode"),
        engine="none",
        engine_reason=f"music is not loud: {heard.in_words()}",
        heard=heard.as_dict(),
        gain=1.0,
        vocal_level_db=None,
        instrumental_level_db=None,
        device="cpu",
        sound=mix.facts(),
        warnings=list(mix.warnings),
        statistics=RunStatistics(execution_time=0.0, load_time=0.0, model_warm=False, realtime_factor=0.0),
    )


@node.task("audio_separator.enhance_speech", timeout_seconds=7200, reuse_field="audio_path")
async def enhance_speech(request: EnhanceSpeechInput, context: TaskContext) -> EnhanceSpeechOutput:
    """Takes noise and music away from speech. Speech recognition gains nothing by it: give that the recording itself."""
    choice = choose("auto", _SPEECH_ONLY, model_store(), context.threads)
    kept = 0.0 if request.strength == 1 else 10 ** (-_STRENGTH_DB * request.strength / 20)
    with _faults():
        mix = await decode_mix(context, request.audio_path, request.stream_index, request.output_format)
        made = await separate(context, mix, choice, kept=kept, with_rest=False)
        speech = await encode(context, mix, made.voices, f"{mix.stem}_speech", request.output_format)
    await context.progress(_STORING_PERCENT, "storing")
    return EnhanceSpeechOutput(
        audio_path=await context.store(speech),
        engine=made.engine,
        model_used=made.model,
        reduction_db=_reduction_db(made.figures.mix_db, made.figures.voice_db),
        sound=mix.facts(),
        warnings=list(mix.warnings),
        statistics=made.statistics,
    )


@node.task("audio_separator.health_check", timeout_seconds=60, reuse_field="service_status")
async def health_check(request: HealthCheckInput, context: TaskContext) -> HealthCheckOutput:
    """Tells which engines and models are here, and what memory the node uses."""
    engines = _engines()
    loaded = len(engines) > 1
    cards = {card.name: float(card.memory_mib) for card in await context.call(find_devices)}
    return HealthCheckOutput(
        service_status="healthy" if loaded else "degraded",
        timestamp=datetime.now(UTC).isoformat(),
        model_loaded=loaded,
        gpu_available=bool(cards),
        memory_usage=MemoryUsage(
            gpu=cards, ram=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
        ),
        engines=engines,
    )


@contextmanager
def _faults() -> Iterator[None]:
    """Turn what is wrong with media into the task's failure."""
    try:
        yield
    except MediaFault as fault:
        field = "/stream_index" if fault.code is MediaCode.STREAM_NOT_FOUND else "/audio_path"
        # A full disk is not the recording's fault.
        raise TaskFailed(
            fault.code.value, fault.message, fault.retryable, "" if fault.retryable else field
        ) from fault


def _reduction_db(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else round(before - after, 2)
