"""The node that speaks: text becomes speech.

A task here cleans and cuts the text, has a voice's worker speak it sentence by sentence, brings the whole to its length,
loudness and form, and has it heard again when asked. A worker that dies is replaced and goes on with the sentence that it died in.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from shutil import which
from typing import Any

import orjson

from nodekit import MediaKind, Node, TaskContext, TaskFailed
from nodekit.models import model_store
from services.tts import casting, hearing, speaking
from services.tts.faults import FaultCode, TtsFault
from services.tts.inputs import AskInput, GenerateSpeechInput
from services.tts.outputs import (
    GenerateSpeechOutput,
    GetModelInfoOutput,
    HealthCheckOutput,
    ListVoicePresetsOutput,
    SentenceTime,
)
from services.tts.settings import tts_settings
from services.tts.sound_files import finish, measure, tempo_for, wav_seconds
from services.tts.speaking import Sentence, Spoken
from services.tts.text.runs import clean, is_speakable, sentences, tell_language
from services.tts.voices import PRESETS, VOICES

_MAX_DEATHS = 2
_MAX_SHOWN = 1000

node = Node("indextts", slots=1, engines=casting.available)


@dataclass
class _Passage:
    """Sentences in a row by one voice."""

    part: casting.Part
    sentences: list[Sentence] = field(default_factory=list)


@node.task("indextts.generate_speech", gpu=True, reuse_field="audio_path")
async def generate_speech(request: GenerateSpeechInput, context: TaskContext) -> GenerateSpeechOutput:
    """Speaks a text, in the voice, length, loudness and form asked for."""
    with _faults():
        reference = await _reference(request, context)
        passages = _passages(request, reference, await _emotion(request, context))
        speech = _Speech(request, context, passages)
        await speech.speak()
        return await _publish(request, context, speech)


async def _reference(request: GenerateSpeechInput, context: TaskContext) -> Path | None:
    if request.reference is None:
        return None
    return await context.fetch(request.reference, kind=MediaKind.AUDIO)


async def _emotion(request: GenerateSpeechInput, context: TaskContext) -> dict[str, Any]:
    """Return what IndexTTS2 is told of the emotion, under its own names."""
    told: dict[str, Any] = {
        "emo_alpha": request.emotion_alpha,
        "use_random": request.use_random,
        "max_text_tokens_per_segment": request.max_text_tokens_per_segment,
    }
    if request.emo_audio_prompt:
        told["emo_audio_prompt"] = str(await context.fetch(request.emo_audio_prompt, kind=MediaKind.AUDIO))
    if request.emotion_vector:
        told["emo_vector"] = list(request.emotion_vector)
    if request.use_emo_text:
        told |= {"use_emo_text": True, "emo_text": request.emotion_text or None}
    return told


def _passages(
    request: GenerateSpeechInput, reference: Path | None, emotion: dict[str, Any]
) -> list[_Passage]:
    """Cut the text into sentences and give each its voice. Raises TtsFault."""
    settings = tts_settings()
    pieces = [(one.text, one.voice or request.voice, one.pause_after) for one in request.segments]
    pieces = pieces or [(request.text, request.voice, None)]
    cleaned = [(clean(text), voice, pause) for text, voice, pause in pieces]
    said = "".join(text for text, _, _ in cleaned)
    if not is_speakable(said):
        raise TtsFault(FaultCode.INVALID_INPUT, "the text has nothing that can be spoken", "/text")
    if len(said) > settings.max_characters:
        message = f"the text has {len(said)} characters; at most {settings.max_characters} are spoken at once"
        raise TtsFault(FaultCode.INVALID_INPUT, message, "/text")
    language = request.language or tell_language(said)
    passages: list[_Passage] = []
    for text, voice, pause in cleaned:
        part = casting.choose(
            engine=request.engine,
            voice=voice,
            language=language,
            reference=reference,
            prompt_text=request.prompt_text,
            settings=settings,
            seed=request.seed,
            emotion=emotion,
        )
        if not passages or passages[-1].part.cast != part.cast:
            passages.append(_Passage(part))
        found = list(sentences(text))
        for number, (sentence, ends) in enumerate(found, 1):
            after = request.paragraph_pause if ends else request.silence_between
            if number == len(found) and pause is not None:
                after = pause
            passages[-1].sentences.append(Sentence(sentence, after))
    passages = [passage for passage in passages if passage.sentences]
    last = passages[-1].sentences[-1]
    passages[-1].sentences[-1] = Sentence(last.text, 0.0)
    return passages


class _Speech:
    """A text being spoken."""

    def __init__(self, request: GenerateSpeechInput, context: TaskContext, passages: list[_Passage]) -> None:
        self._request = request
        self._context = context
        self.passages = passages
        self.spoken: list[tuple[Spoken, str]] = []
        self.load_seconds = 0.0
        self.run_seconds = 0.0
        self._deaths = 0
        self.files: list[Path] = []

    async def speak(self) -> None:
        """Speak all passages, each into a WAV file of its own. Raises TtsFault and TaskFailed."""
        total = sum(len(passage.sentences) for passage in self.passages)
        offset = 0.0
        for number, passage in enumerate(self.passages):
            raw = self._context.output_path(f"passage-{number}.s16")
            done: list[Spoken] = []
            while len(done) < len(passage.sentences):
                try:
                    await self._passage(passage, raw, done, total, offset)
                except TaskFailed as failure:
                    self._deaths += 1
                    if failure.code != "WORKER_DIED" or self._deaths > _MAX_DEATHS:
                        raise
                    await self._context.log(f"{failure.message}; going on with the next sentence", "warning")
                    await self._context.call(_cut_to, raw, done)
            path = raw.with_suffix(".wav")
            await self._context.call(speaking.to_wav, raw, path, done[-1].sample_rate)
            self.files.append(path)
            offset += await self._context.call(wav_seconds, path)

    async def _passage(
        self, passage: _Passage, raw: Path, done: list[Spoken], total: int, offset: float
    ) -> None:
        cast = passage.part.cast
        threads = self._context.threads
        load = partial(speaking.load, cast, threads)
        key = speaking.model_key(cast, threads)
        on_gpu = cast.engine == "indextts2"
        memory_mib = tts_settings().indextts_gpu_memory_mib if on_gpu else 0
        async with self._context.warm(key, load, memory_mib=memory_mib, processor=not on_gpu) as model:
            self.load_seconds += 0.0 if model.warm else model.load_seconds
            began = time.monotonic()
            stream = model.stream(
                speaking.speak,
                passage.sentences,
                raw,
                self._request.speed,
                skip=len(done),
                parts=self._request.stream,
            )
            async for item in stream:
                done.append(item)
                await self._tell(item, cast.voice or cast.engine, total, offset)
            self.run_seconds += time.monotonic() - began

    async def _tell(self, item: Spoken, voice: str, total: int, offset: float) -> None:
        moved = Spoken(
            item.number, item.text, item.start + offset, item.end + offset, item.sample_rate, item.part
        )
        self.spoken.append((moved, voice))
        data: dict[str, Any] = {
            "sentence": len(self.spoken),
            "text": item.text,
            "start": round(moved.start, 3),
            "end": round(moved.end, 3),
        }
        if item.part:
            data["audio_path"] = await self._context.store(
                Path(item.part), name=f"parts/{len(self.spoken):04d}.wav"
            )
        await self._context.progress(5 + 80 * len(self.spoken) / total, "speaking", data=data)


def _cut_to(raw: Path, done: list[Spoken]) -> None:
    """Take back what a worker that died has written of a sentence that it did not finish."""
    if raw.exists():
        # The pause behind the last finished sentence may be cut as well; it is short, and a repeated half word is not.
        keep = int(done[-1].end * done[-1].sample_rate) * 2 if done else 0
        with raw.open("r+b") as file:
            file.truncate(keep)


async def _publish(
    request: GenerateSpeechInput, context: TaskContext, speech: _Speech
) -> GenerateSpeechOutput:
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


async def _joined(context: TaskContext, speech: _Speech) -> Path:
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
    request: GenerateSpeechInput, context: TaskContext, speech: _Speech, path: Path
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
    speech: _Speech,
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
        warnings=_warnings(request, part.engine),
    )


def _warnings(request: GenerateSpeechInput, engine: str) -> list[str]:
    if engine == "indextts2":
        return []
    given = request.model_fields_set & {
        "emo_audio_prompt", "emotion_vector", "emotion_text", "use_emo_text", "use_random"
    }  # fmt: skip
    return [f"{name} has no effect: {engine} knows no emotions" for name in sorted(given)]


@node.task("indextts.list_voice_presets")
async def list_voice_presets(request: AskInput, context: TaskContext) -> ListVoicePresetsOutput:
    """Names the voices that are built in."""
    kokoro = _has_kokoro()
    presets = {
        name: {
            "name": name,
            "description": f"{voice.gender} voice, {voice.locale} ({voice.engine})",
            "language": voice.locale,
            "gender": voice.gender,
            "engine": voice.engine,
            "available": kokoro or voice.engine == "hibari",
        }
        for name, voice in VOICES.items()
    }
    presets |= {name: {**presets[target], "name": target} for name, target in PRESETS.items()}
    return ListVoicePresetsOutput(status="success", presets=presets, total_count=len(presets))


@node.task("indextts.get_model_info")
async def get_model_info(request: AskInput, context: TaskContext) -> GetModelInfoOutput:
    """Says which engines there are, and what they can."""
    settings = tts_settings()
    store = model_store()
    kokoro = _has_kokoro()
    engines = [
        {"name": "kokoro", "model": casting.KOKORO_MODEL, "license": "Apache-2.0", "available": kokoro,
         "why_not": "" if kokoro else f"`make models names=\"{casting.KOKORO_MODEL} {casting.KOKORO_VOICES}\"` fetches it"},
        {"name": "hibari", "model": "hibari", "license": "Apache-2.0", "available": True, "why_not": ""},
        {"name": "indextts2", "model": "IndexTTS2", "license": "bilibili Model Use License",
         "available": settings.indextts_folder is not None,
         "why_not": "" if settings.indextts_folder else "tts.indextts_folder is not set"},
        {"name": "flite", "model": "flite", "license": "MIT-like (CMU)", "available": which("flite") is not None,
         "why_not": "" if which("flite") else "the program flite is not installed"},
        {"name": "espeak-ng", "model": "espeak-ng", "license": "GPL-3.0-or-later (program)",
         "available": which("espeak-ng") is not None,
         "why_not": "" if which("espeak-ng") else "the program espeak-ng is not installed"},
        {"name": "gptsovits", "model": "server", "license": "see the server", "available": bool(settings.gptsovits_url),
         "why_not": "" if settings.gptsovits_url else "tts.gptsovits_url is not set"},
        {"name": "cosyvoice", "model": "server", "license": "see the server", "available": bool(settings.cosyvoice_url),
         "why_not": "" if settings.cosyvoice_url else "tts.cosyvoice_url is not set"},
    ]  # fmt: skip
    cloning = bool(settings.gptsovits_url or settings.cosyvoice_url or settings.indextts_folder)
    info = {
        "model_type": "Kokoro" if kokoro else "hibari",
        "model_version": store.entry(casting.KOKORO_MODEL).version if kokoro else "",
        "device": "cpu",
        "model_path": str(store.root / casting.KOKORO_MODEL) if kokoro else "",
        "status": "ready",
        "capabilities": {
            "text_to_speech": True,
            "voice_cloning": cloning,
            "emotion_control": settings.indextts_folder is not None,
            "multi_language": kokoro,
            "real_time": True,
        },
        "config": {"use_fp16": settings.indextts_fp16, "use_deepspeed": False, "use_cuda_kernel": False},
    }
    return GetModelInfoOutput(status="success", model_info=info, engines=engines)


@node.task("indextts.health_check")
async def health_check(request: AskInput, context: TaskContext) -> HealthCheckOutput:
    """Says whether the node can speak."""
    kokoro = _has_kokoro()
    return HealthCheckOutput(
        status="healthy" if kokoro else "degraded",
        service="indextts_service",
        gpu={"available": False, "count": 0, "name": ""},
        model="ready" if kokoro else "missing",
        gpu_lock="not_used",
    )


def _has_kokoro() -> bool:
    store = model_store()
    return store.has(casting.KOKORO_MODEL) and store.has(casting.KOKORO_VOICES)


@contextmanager
def _faults() -> Iterator[None]:
    """Turn a fault of the work into the task's failure."""
    try:
        yield
    except TtsFault as fault:
        raise TaskFailed(fault.code, fault.message, retryable=fault.retryable, field=fault.field) from None
