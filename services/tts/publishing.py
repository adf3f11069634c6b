"""What becomes of spoken passages: one file of the length, loudness and form asked for, heard again when asked, and its listing."""

from __future__ import annotations

from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import orjson

from nodekit import TaskContext
from nodekit.models import model_store
from services.tts import hearing
from services.tts.casting import Part
from services.tts.faults import FaultCode, TtsFault
from services.tts.inputs import GenerateSpeechInput
from services.tts.outputs import GenerateSpeechOutput, SentenceTime
from services.tts.sound_files import finish, measure, tempo_for, wav_seconds
from services.tts.speech import Speech

_MAX_SHOWN = 1000


async def publish(request: GenerateSpeechInput, context: TaskContext, speech: Speech) -> GenerateSpeechOutput:
    """Store the speech. Raises TtsFault (SPEECH_DIFFERS) when `verify` heard another text."""
    await context.progress(88, "finishing")
    whole = await _joined(context, speech)
    seconds = await context.call(wav_seconds, whole)
    # These engines know no speed: what they say is made faster here.
    left = request.speed if speech.passages[0].part.engine in ("cosyvoice", "indextts2") else 1.0
    tempo = left * tempo_for(seconds / left, request.target_duration, free=request.free_stretch)
    stem = PurePosixPath(request.output_path).stem or "speech"
    target = context.output_path(f"{stem}.{request.output_format}")
    level = await measure(context, whole)
    gain = 0.0 if request.loudness is None or level.lufs <= -69 else request.loudness - level.lufs
    pad = max(0.0, (request.target_duration or 0.0) - seconds / tempo)
    write = partial(
        finish, context, whole, target, tempo=tempo, sample_rate=request.sample_rate, pad_seconds=pad
    )
    await write(gain_db=gain)
    after = await measure(context, target)
    if request.loudness is not None and abs(after.lufs - request.loudness) > 0.2 and after.lufs > -69:
        # The limiter took something, or the stretched speech weighs differently: once more, by what is missing.
        gain += request.loudness - after.lufs
        await write(gain_db=gain)
        after = await measure(context, target)
    duration = round(seconds / tempo + pad, 6)
    heard = await _heard(request, context, speech, whole) if request.verify else None
    return await _output(
        request, context, speech, target, tempo=tempo, duration=duration, level=after, heard=heard
    )


async def _joined(context: TaskContext, speech: Speech) -> Path:
    """Return one file of all passages, at one rate."""
    if len(speech.files) == 1:
        return speech.files[0]
    whole = context.output_path("whole.wav")
    argv = ["ffmpeg", "-nostdin", "-v", "error", "-y"]
    for path in speech.files:
        argv += ["-i", f"file:{path}"]
    graph = "".join(f"[{n}:a]aresample=24000[a{n}];" for n in range(len(speech.files)))
    inputs = "".join(f"[a{n}]" for n in range(len(speech.files)))
    graph += f"{inputs}concat=n={len(speech.files)}:v=0:a=1[out]"
    done = await context.run([*argv, "-filter_complex", graph, "-map", "[out]", f"file:{whole}"])
    if done.returncode != 0:
        raise TtsFault(FaultCode.PROCESSING_ERROR, "ffmpeg cannot join the speech")
    return whole


async def _heard(
    request: GenerateSpeechInput, context: TaskContext, speech: Speech, path: Path
) -> hearing.Heard:
    """Hear the speech again. Raises TtsFault (SPEECH_DIFFERS), and ModelMissing without the recogniser's model."""
    await context.progress(94, "verifying")
    folder = model_store().folder(hearing.MODEL)
    expected = " ".join(sentence.text for passage in speech.passages for sentence in passage.sentences)
    language = speech.passages[0].part.language
    load = partial(hearing.load, folder, context.threads)
    async with context.warm(f"hear/{hearing.MODEL}/{context.threads}", load, processor=True) as model:
        heard: hearing.Heard = await model.run(hearing.hear, path, expected, language)
    if not heard.right:
        message = (
            f"what was heard is not the text: {heard.error_rate:.0%} wrong, {heard.length_ratio:.0%} of its length; "
            f"heard: {heard.text[:300]}"
        )
        raise TtsFault(FaultCode.SPEECH_DIFFERS, message, "/text", retryable=True)
    return heard


async def _output(
    request: GenerateSpeechInput,
    context: TaskContext,
    speech: Speech,
    target: Path,
    *,
    tempo: float,
    duration: float,
    level: Any,
    heard: hearing.Heard | None,
) -> GenerateSpeechOutput:
    part = speech.passages[0].part
    times = [
        {
            "text": one.text,
            "start": round(one.start / tempo, 3),
            "end": round(one.end / tempo, 3),
            "voice": voice,
        }
        for one, voice in speech.spoken
    ]
    listing = context.output_path(f"{target.stem}_sentences.json")
    listing.write_bytes(orjson.dumps({"sentences": times}, option=orjson.OPT_INDENT_2))
    stored = await context.store(target)
    wanted = request.target_duration
    return GenerateSpeechOutput(
        audio_path=stored,
        output_path=stored,
        status="success",
        duration=duration,
        text_length=sum(len(text) for text in [request.text, *(one.text for one in request.segments)]),
        sample_rate=request.sample_rate,
        engine=part.engine,
        model=part.model,
        license=part.license,
        voice=",".join(dict.fromkeys(voice for _, voice in speech.spoken)),
        language=part.language,
        loudness_lufs=round(level.lufs, 2),
        true_peak_db=round(level.true_peak_db, 2),
        tempo=round(tempo, 4),
        duration_error=round((duration - wanted) / wanted, 4) if wanted else None,
        load_seconds=round(speech.load_seconds, 3),
        processing_time=round(speech.run_seconds, 3),
        sentences=[SentenceTime(**row) for row in times[:_MAX_SHOWN]],
        sentences_file=await context.store(listing),
        verified=heard is not None,
        heard_text=heard.text[:20_000] if heard else "",
        error_rate=heard.error_rate if heard else None,
        warnings=_warnings(request, part),
    )


def _warnings(request: GenerateSpeechInput, part: Part) -> list[str]:
    lesser = [part.warning] if part.warning else []
    if part.engine == "indextts2":
        return lesser
    given = request.model_fields_set & {
        "emo_audio_prompt", "emotion_vector", "emotion_text", "use_emo_text", "use_random"
    }  # fmt: skip
    return [*lesser, *(f"{name} has no effect: {part.engine} knows no emotions" for name in sorted(given))]
