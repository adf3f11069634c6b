"""The node that speaks: text becomes speech.

A task here cleans and cuts the text, has a voice's worker speak it sentence by sentence, brings the whole to its length,
loudness and form, and has it heard again when asked. A worker that dies is replaced and goes on with the sentence that it died in.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from nodekit import MediaKind, Node, TaskContext
from services.tts import casting, catalogue, passages, references
from services.tts.dubbing import dub
from services.tts.inputs import AskInput, GenerateSpeechInput
from services.tts.line_inputs import SpeakLinesInput
from services.tts.line_outputs import SpeakLinesOutput
from services.tts.outputs import (
    GenerateSpeechOutput,
    GetModelInfoOutput,
    HealthCheckOutput,
    ListVoicePresetsOutput,
)
from services.tts.publishing import publish
from services.tts.speech import Speech

node = Node("indextts", slots=1, engines=casting.available)


@node.task("indextts.generate_speech", gpu=True, reuse_field="audio_path")
async def generate_speech(request: GenerateSpeechInput, context: TaskContext) -> GenerateSpeechOutput:
    """Speaks a text, in the voice, length, loudness and form asked for."""
    reference = await _reference(request, context)
    emotion = await _emotion(request, context)
    speech = Speech(request, context, await asyncio.to_thread(passages.cut, request, reference, emotion))
    await speech.speak()
    return await publish(request, context, speech)


async def _reference(request: GenerateSpeechInput, context: TaskContext) -> Path | None:
    given = next(((name, ref) for name, ref in request.references() if ref), None)
    if given is None:
        return None
    name, ref = given
    recording = await context.fetch(ref, kind=MediaKind.AUDIO)
    return await references.usable(context, recording, "voice", f"/{name}")


async def _emotion(request: GenerateSpeechInput, context: TaskContext) -> dict[str, Any]:
    """Return what IndexTTS2 is told of the emotion, under its own names."""
    told: dict[str, Any] = {
        "emo_alpha": request.emotion_alpha,
        "use_random": request.use_random,
        "max_text_tokens_per_segment": request.max_text_tokens_per_segment,
    }
    if request.emo_audio_prompt:
        recording = await context.fetch(request.emo_audio_prompt, kind=MediaKind.AUDIO)
        told["emo_audio_prompt"] = str(
            await references.usable(context, recording, "emotion", "/emo_audio_prompt")
        )
    if request.emotion_vector:
        told["emo_vector"] = list(request.emotion_vector)
    if request.use_emo_text:
        told |= {"use_emo_text": True, "emo_text": request.emotion_text or None}
    return told


@node.task("indextts.speak_lines", timeout_seconds=14_400, reuse_field="audio_path")
async def speak_lines(request: SpeakLinesInput, context: TaskContext) -> SpeakLinesOutput:
    """Speaks the lines of a film, each in its speaker's voice and in its time, on one track that is as long as the film."""
    return await dub(request, context)


@node.task("indextts.list_voice_presets")
async def list_voice_presets(request: AskInput, context: TaskContext) -> ListVoicePresetsOutput:
    """Names the voices that are built in."""
    presets = catalogue.presets()
    return ListVoicePresetsOutput(status="success", presets=presets, total_count=len(presets))


@node.task("indextts.get_model_info")
async def get_model_info(request: AskInput, context: TaskContext) -> GetModelInfoOutput:
    """Says which engines there are, and what they can."""
    return GetModelInfoOutput(
        status="success", model_info=catalogue.model_info(), engines=catalogue.engines()
    )


@node.task("indextts.health_check")
async def health_check(request: AskInput, context: TaskContext) -> HealthCheckOutput:
    """Says whether the node can speak."""
    kokoro = casting.has_kokoro()
    return HealthCheckOutput(
        status="healthy" if kokoro else "degraded",
        service="indextts_service",
        gpu={"available": False, "count": 0, "name": ""},
        model="ready" if kokoro else "missing",
        gpu_lock="not_used",
    )
