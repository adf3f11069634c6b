"""Which voices and engines there are, which of them are here, and why another is not."""

from __future__ import annotations

from shutil import which
from typing import Any

from nodekit.models import model_store
from services.tts.casting import KOKORO_MODEL, KOKORO_VOICES, has_kokoro, reads_japanese
from services.tts.settings import tts_settings
from services.tts.voices import PRESETS, VOICES


def presets() -> dict[str, dict[str, Any]]:
    """Describe every voice that is built in, by its name and by the origin's preset names."""
    kokoro, japanese = has_kokoro(), reads_japanese()
    found = {
        name: {
            "name": name,
            "description": f"{voice.gender} voice, {voice.locale} ({voice.engine})",
            "language": voice.locale,
            "gender": voice.gender,
            "engine": voice.engine,
            "available": voice.engine == "hibari" or (kokoro and (japanese or voice.language != "ja")),
        }
        for name, voice in VOICES.items()
    }
    found |= {name: {**found[target], "name": target} for name, target in PRESETS.items()}
    return found


def engines() -> list[dict[str, Any]]:
    """Describe every engine: what it is, whether it is here, and what to do where it is not."""
    settings = tts_settings()
    kokoro = has_kokoro()
    return [
        {"name": "kokoro", "model": KOKORO_MODEL, "license": "Apache-2.0", "available": kokoro,
         "why_not": "" if kokoro else f"`make models names=\"{KOKORO_MODEL} {KOKORO_VOICES}\"` fetches it"},
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


def model_info() -> dict[str, Any]:
    """Say what `auto` uses, and what it can."""
    settings = tts_settings()
    store = model_store()
    kokoro = has_kokoro()
    cloning = bool(settings.gptsovits_url or settings.cosyvoice_url or settings.indextts_folder)
    return {
        "model_type": "Kokoro" if kokoro else "hibari",
        "model_version": store.entry(KOKORO_MODEL).version if kokoro else "",
        "device": "cpu",
        "model_path": str(store.root / KOKORO_MODEL) if kokoro else "",
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
