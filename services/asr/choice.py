"""Which model hears a task, and where it runs."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from nodekit import TaskFailed
from nodekit.models import model_store
from services.asr.settings import AsrSection

DEFAULT_MODELS = ("faster-whisper-base", "faster-whisper-tiny.en")
_WEAK_TRANSLATORS = ("faster-whisper-base", "faster-whisper-tiny.en")
"""Models of the store that put hardly any language into English well enough to be offered."""


@dataclass(frozen=True)
class Choice:
    """A model that is there."""

    name: str
    revision: str
    folder: Path

    @property
    def translates(self) -> bool:
        """Whether its translations are worth offering."""
        return self.name not in _WEAK_TRANSLATORS


def choose(wanted: str, settings: AsrSection) -> Choice:
    """Return the folder of a model. Raises ModelMissing, which names the command that fetches it."""
    name = settings.model if wanted == "auto" else wanted
    folder = settings.model_folder
    if name == "auto" and folder is not None and (folder / "model.bin").is_file():
        return Choice(folder.name, "", folder)
    if folder is not None and name == folder.name:
        return Choice(name, "", folder)
    store = model_store()
    if name == "auto":
        name = next((one for one in DEFAULT_MODELS if store.has(one)), DEFAULT_MODELS[0])
    if store.entry(name).engine != "faster-whisper":
        raise TaskFailed("MODEL_UNSUITABLE", f"the model {name} is not for faster-whisper", field="/model")
    return Choice(name, store.entry(name).version, store.folder(name))


@cache
def engine_name() -> str:
    """Return `faster-whisper/<version>`; read without importing it."""
    return f"faster-whisper/{importlib.metadata.version('faster-whisper')}"


def available() -> list[str]:
    """Name the engine and the models that are here, for WatchNode."""
    store = model_store()
    return [engine_name(), *(name for name in DEFAULT_MODELS if store.has(name))]


def has_cuda() -> bool:
    """Whether CTranslate2 can use a GPU here. Runs in a worker process: the question loads the driver."""
    import ctranslate2

    return int(ctranslate2.get_cuda_device_count()) > 0
