"""Which engine and model hear a recording: what was asked for, or the best that is here."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from nodekit.models import ModelMissing, ModelStore
from services.asr.faults import FaultCode, SpeechFault
from services.asr.sphinx import MODEL as SPHINX_MODEL

DEFAULT_MODEL = "faster-whisper-base"
ENGLISH_MODEL = "faster-whisper-tiny.en"
_PACKAGES = {"faster-whisper": "faster_whisper", "pocketsphinx": "pocketsphinx"}


@dataclass(frozen=True)
class Wish:
    """What a task and the settings ask for."""

    engine: str = "auto"
    model: str | None = None
    """The task's own; it is taken or the task fails."""
    configured: str = ""
    """The settings': taken where it is here."""
    language: str | None = None


@dataclass(frozen=True)
class Choice:
    """What is taken."""

    engine: str
    model: str
    folder: Path | None = None
    revision: str = ""
    """The manifest's version of the weights; empty for a folder of one's own."""
    warnings: tuple[str, ...] = ()


def has_cuda() -> bool:
    """Whether CTranslate2 can use a GPU here. For a worker process: the question loads the driver."""
    import ctranslate2

    return int(ctranslate2.get_cuda_device_count()) > 0


def installed_engines() -> tuple[str, ...]:
    """Return the engines whose packages are here, as `name/version`, without importing them."""
    found = []
    for package in _PACKAGES:
        try:
            found.append(f"{package}/{version(package)}")
        except PackageNotFoundError:
            continue
    return tuple(found)


def choose(wish: Wish, models: Path) -> Choice:
    """Choose engine and model of the store in the folder `models`.

    Reads the model's files once, to check them, so that it belongs into a worker process.

    Raises:
        ModelMissing: the model is not in the store; names its size and the command that fetches it.
        SpeechFault: ENGINE_MISSING, LANGUAGE_UNSUPPORTED.
    """
    store = ModelStore(models)
    if wish.engine == "pocketsphinx":
        return _sphinx(wish, ())
    if wish.model is not None:
        return _whisper(wish.model, store, (), "/model")
    missing: ModelMissing | None = None
    warnings: list[str] = []
    for name in _candidates(wish):
        try:
            return _whisper(name, store, tuple(warnings))
        except ModelMissing as error:
            missing = missing or error
            warnings.append(f"not used: {error.message}")
        except SpeechFault as error:
            warnings.append(f"not used: {error.message}")
            break
    if wish.engine == "faster-whisper":
        raise missing or SpeechFault(FaultCode.ENGINE_MISSING, "; ".join(warnings), "/engine")
    if wish.language not in (None, "en") and missing is not None:
        raise missing
    return _sphinx(
        wish, (*warnings, "pocketsphinx is heard with: English only, and poor on all but clean speech")
    )


def _candidates(wish: Wish) -> Iterator[str]:
    if wish.configured:
        yield wish.configured
    if wish.configured != DEFAULT_MODEL:
        yield DEFAULT_MODEL
    if wish.language in (None, "en") and wish.configured != ENGLISH_MODEL:
        yield ENGLISH_MODEL


def _whisper(name: str, store: ModelStore, warnings: tuple[str, ...], field: str = "") -> Choice:
    folder = _folder(name, store, field)
    revision = "" if name.startswith("/") else store.entry(name).version
    return Choice("faster-whisper", Path(name).name, folder, revision, warnings)


def _folder(name: str, store: ModelStore, field: str) -> Path:
    """Return a model's folder: a path as it stands, a name from the store."""
    if importlib.util.find_spec(_PACKAGES["faster-whisper"]) is None:
        raise SpeechFault(FaultCode.ENGINE_MISSING, "faster-whisper is not installed on this node", "/engine")
    if not name.startswith("/"):
        if store.entry(name, field).engine != "faster-whisper":
            message = f"the model {name} is not for faster-whisper"
            raise SpeechFault(FaultCode.MODEL_UNSUITABLE, message, "/model")
        return store.folder(name, field)
    folder = Path(name)
    lacking = [
        part for part in ("model.bin", "config.json", "tokenizer.json") if not (folder / part).is_file()
    ]
    if lacking:
        raise ModelMissing(f"the model folder {folder.name} lacks {', '.join(lacking)}")
    return folder


def _sphinx(wish: Wish, warnings: tuple[str, ...]) -> Choice:
    if importlib.util.find_spec(_PACKAGES["pocketsphinx"]) is None:
        raise SpeechFault(FaultCode.ENGINE_MISSING, "pocketsphinx is not installed on this node", "/engine")
    if wish.language not in (None, "en"):
        message = f"pocketsphinx knows English only, not {wish.language!r}"
        raise SpeechFault(FaultCode.LANGUAGE_UNSUPPORTED, message, "/language")
    return Choice("pocketsphinx", SPHINX_MODEL, warnings=warnings)
