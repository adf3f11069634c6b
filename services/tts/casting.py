"""Who speaks a task: engine, model and voice, by what was asked for and what is here."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from pathlib import Path

from nodekit.models import model_store
from services.tts.faults import FaultCode, TtsFault
from services.tts.settings import TtsSection
from services.tts.speaking import Cast
from services.tts.voices import VOICES, find_voice

KOKORO_MODEL, KOKORO_VOICES = "kokoro-82m-int8", "kokoro-voices"


@dataclass(frozen=True)
class Part:
    """A cast, and what results say of it."""

    cast: Cast
    engine: str
    model: str
    license: str
    language: str


def choose(
    *, engine: str, voice: str, language: str, reference: Path | None, prompt_text: str, settings: TtsSection
) -> Part:
    """Return who speaks. Raises TtsFault, and ModelMissing, which names the command that fetches it."""
    if engine == "auto" and reference is not None:
        engine = "gptsovits" if settings.gptsovits_url else "cosyvoice"
    if engine in ("gptsovits", "cosyvoice"):
        return _server(engine, language, reference, prompt_text, settings)
    found = find_voice(voice, language, zh=settings.voice_zh, en=_english(engine, settings))
    if engine not in ("auto", found.engine):
        raise TtsFault(
            FaultCode.VOICE_UNKNOWN, f"{found.name} is a voice of {found.engine}, not of {engine}", "/voice"
        )
    if not voice and found.language != language:
        raise TtsFault(FaultCode.LANGUAGE_UNSUPPORTED, f"{engine} does not speak {language!r}", "/language")
    if found.engine == "hibari":
        version = importlib.metadata.version("hibari-tts")
        return Part(Cast("hibari", found.name), f"hibari/{version}", f"hibari {version}", "Apache-2.0", "en")
    store = model_store()
    model, voices = store.folder(KOKORO_MODEL), store.folder(KOKORO_VOICES)
    entry = store.entry(KOKORO_MODEL)
    cast = Cast("kokoro", found.name, str(model), str(voices))
    runtime = importlib.metadata.version("onnxruntime")
    return Part(
        cast,
        f"onnxruntime/{runtime}",
        f"{KOKORO_MODEL} {entry.version}",
        entry.license.weights,
        found.language,
    )


def _english(engine: str, settings: TtsSection) -> str:
    return (
        "af_heart"
        if engine == "kokoro" and VOICES[settings.voice_en].engine != "kokoro"
        else settings.voice_en
    )


def _server(
    engine: str, language: str, reference: Path | None, prompt_text: str, settings: TtsSection
) -> Part:
    url = settings.gptsovits_url if engine == "gptsovits" else settings.cosyvoice_url
    if not url:
        message = "no speech server is configured that speaks with a voice from a recording (tts.gptsovits_url, tts.cosyvoice_url)"
        raise TtsFault(FaultCode.REFERENCE_UNUSABLE, message, "/spk_audio_prompt" if reference else "/engine")
    if reference is None:
        raise TtsFault(
            FaultCode.REFERENCE_UNUSABLE, f"{engine} needs a recording of the voice", "/spk_audio_prompt"
        )
    cast = Cast(
        engine,
        url=url,
        reference=str(reference),
        prompt_text=prompt_text,
        language=language,
        timeout_seconds=settings.server_seconds,
    )
    return Part(cast, engine, f"{engine} server", "see the server's model", language)


def available() -> list[str]:
    """Name the engines and models that are here, for WatchNode."""
    store = model_store()
    names = [f"hibari/{importlib.metadata.version('hibari-tts')}"]
    return [*names, *(name for name in (KOKORO_MODEL, KOKORO_VOICES) if store.has(name))]
