"""Who speaks a task: engine, model and voice, by what was asked for and what is here."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from nodekit.models import ModelMissing, model_store
from services.tts.faults import FaultCode, TtsFault
from services.tts.settings import TtsSection
from services.tts.speaking import Cast
from services.tts.voices import VOICES, find_voice

KOKORO_MODEL, KOKORO_VOICES = "kokoro-82m-int8", "kokoro-voices"
BUILT_IN = ("zh", "en", "es", "fr", "it", "ja", "pt")
FLITE_VOICES = ("slt", "rms", "awb", "kal16", "kal")


@dataclass(frozen=True)
class Part:
    """A cast, and what results say of it."""

    cast: Cast
    engine: str
    model: str
    license: str
    language: str
    warning: str = ""
    """What results say where the preferred engine is not here."""


def choose(
    *,
    engine: str,
    voice: str,
    language: str,
    reference: Path | None,
    prompt_text: str,
    settings: TtsSection,
    seed: int = 0,
    emotion: Mapping[str, Any] | None = None,
) -> Part:
    """Return who speaks. Raises TtsFault, and ModelMissing, which names the command that fetches it.

    `emotion` has the arguments of IndexTTS2's `infer` beside text and recording; other engines know none.
    """
    if engine == "auto" and reference is not None:
        engine = _cloning(settings)
    if engine == "indextts2":
        return _indextts2(language, reference, settings, {**(emotion or {}), "seed": seed})
    if engine == "flite":
        return _flite(voice, language)
    if engine == "espeak-ng" or (engine == "auto" and not voice and language not in BUILT_IN):
        return _espeak(voice, language)
    if engine in ("gptsovits", "cosyvoice"):
        return _server(engine, language, reference, prompt_text, settings)
    found = find_voice(voice, language, zh=settings.voice_zh, en=_english(engine, settings))
    if engine not in ("auto", found.engine):
        raise TtsFault(
            FaultCode.VOICE_UNKNOWN, f"{found.name} is a voice of {found.engine}, not of {engine}", "/voice"
        )
    if not voice and found.language != language:
        raise TtsFault(FaultCode.LANGUAGE_UNSUPPORTED, f"{engine} does not speak {language!r}", "/language")
    if found.language == "ja" and not reads_japanese():
        message = "reading Japanese needs the package pyopenjtalk-plus: `make japanese` installs it"
        raise TtsFault(FaultCode.LANGUAGE_UNSUPPORTED, message, "/voice" if voice else "/language")
    if found.engine == "hibari":
        version = importlib.metadata.version("hibari-tts")
        return Part(
            Cast("hibari", found.name, seed=seed),
            f"hibari/{version}",
            f"hibari {version}",
            "Apache-2.0",
            "en",
        )
    store = model_store()
    try:
        asked = "/voice" if voice else "/engine" if engine != "auto" else ""
        model, voices = store.folder(KOKORO_MODEL, asked), store.folder(KOKORO_VOICES, asked)
    except ModelMissing as missing:
        if engine != "auto" or voice or found.language not in espeak_languages():
            raise
        lesser = _espeak("", found.language)
        return replace(lesser, warning=f"espeak-ng speaks, without Kokoro's quality: {missing.message}")
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


def _cloning(settings: TtsSection) -> str:
    if settings.indextts_folder is not None:
        return "indextts2"
    return "gptsovits" if settings.gptsovits_url else "cosyvoice"


def _indextts2(language: str, reference: Path | None, settings: TtsSection, manner: dict[str, Any]) -> Part:
    root = settings.indextts_folder
    if root is None or not root.is_dir():
        message = "IndexTTS2 is not here (tts.indextts_folder names its checkout)"
        raise TtsFault(FaultCode.ENGINE_UNREACHABLE, message, "/engine")
    if reference is None:
        message = "IndexTTS2 needs a recording of the voice"
        raise TtsFault(FaultCode.REFERENCE_UNUSABLE, message, "/spk_audio_prompt")
    cast = Cast(
        "indextts2",
        model_folder=str(root),
        voices_folder=str(settings.indextts_model or root / "checkpoints"),
        reference=str(reference),
        language=language,
        python=str(settings.indextts_python or root / ".venv/bin/python"),
        manner=json.dumps({**manner, "spk_audio_prompt": str(reference)}),
        fp16=settings.indextts_fp16,
    )
    return Part(cast, "indextts2", "IndexTTS2", "bilibili Model Use License", language)


def _flite(voice: str, language: str) -> Part:
    name = {"": "slt", "default": "slt", "female_01": "slt", "male_01": "rms"}.get(voice, voice)
    if language != "en":
        raise TtsFault(FaultCode.LANGUAGE_UNSUPPORTED, f"flite does not speak {language!r}", "/language")
    if name not in FLITE_VOICES:
        raise TtsFault(FaultCode.VOICE_UNKNOWN, f"flite has no voice {voice!r}", "/voice")
    return Part(Cast("flite", name), "flite", f"flite {name}", "MIT-like (CMU)", "en")


def _espeak(voice: str, language: str) -> Part:
    if voice not in ("", "default"):
        raise TtsFault(FaultCode.VOICE_UNKNOWN, "espeak-ng has one voice for each language", "/voice")
    if language not in espeak_languages():
        message = (
            f"no voice here speaks {language!r}; {', '.join(BUILT_IN)} are spoken, and what espeak-ng knows"
        )
        raise TtsFault(FaultCode.LANGUAGE_UNSUPPORTED, message, "/language")
    licence = "GPL-3.0-or-later (program)"
    return Part(Cast("espeak-ng", language=language), "espeak-ng", f"espeak-ng {language}", licence, language)


@cache
def espeak_languages() -> frozenset[str]:
    """Return the languages of the espeak-ng that is installed, by its dictionaries; without Japanese, whose kanji it spells."""
    folders = [*Path("/usr/lib").glob("*/espeak-ng-data"), *Path("/usr").glob("*/espeak-ng-data")]
    names = {file.name.removesuffix("_dict") for folder in folders for file in folder.glob("*_dict")}
    return frozenset((names | ({"zh"} if "cmn" in names else set())) - {"ja"})


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


def reads_japanese() -> bool:
    """Return whether what turns Japanese text into sounds is installed."""
    return find_spec("pyopenjtalk") is not None


def has_kokoro() -> bool:
    """Return whether Kokoro's weights are here."""
    store = model_store()
    return store.has(KOKORO_MODEL) and store.has(KOKORO_VOICES)


def available() -> list[str]:
    """Name the engines and models that are here, for WatchNode."""
    store = model_store()
    names = [f"hibari/{importlib.metadata.version('hibari-tts')}"]
    return [*names, *(name for name in (KOKORO_MODEL, KOKORO_VOICES) if store.has(name))]
