"""Which engine a task gets, and how a worker loads it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from nodekit import TaskFailed
from nodekit.models import ModelStore
from runtime.heap import give_back_large_blocks
from services.diarize.engine import Engine
from services.diarize.settings import DiarizeSection, EngineName

SEGMENTATION = "pyannote-segmentation-3.0"
CAMPPLUS = "campplus-zh-en"


@dataclass(frozen=True)
class Choice:
    """An engine that is to be loaded."""

    key: str
    """Names the loaded engine among warm models."""
    load: Callable[[], Engine]
    """Loads it; for a worker process."""
    memory_mib: int | None = None
    """GPU memory it asks for; None: it runs on the processor."""
    reason: str = ""
    """Why this one, for people."""


def choose(name: EngineName, settings: DiarizeSection, store: ModelStore, threads: int) -> Choice:
    """Return the engine for a task that asks for `name`.

    Raises TaskFailed: MODEL_MISSING, or ENGINE_MISSING when the packages of the pipeline are not installed.
    """
    asked = "" if name == "auto" else "/engine"
    if name == "auto":
        name = settings.engine
    if name == "pyannote" or (name == "auto" and settings.pipeline):
        return _pipeline(settings, threads, asked)
    if name == "neural" or (name == "auto" and store.has(SEGMENTATION) and store.has(CAMPPLUS)):
        load = partial(
            load_neural,
            store.folder(SEGMENTATION, asked) / "segmentation-3.0.onnx",
            store.folder(CAMPPLUS, asked) / "campplus.onnx",
            threads,
            f"{store.entry(SEGMENTATION).version}+{store.entry(CAMPPLUS).version}",
        )
        return Choice("diarize/neural", load, reason="segmentation-3.0 and CAM++ are in the model store")
    why = (
        "it was asked for"
        if name == "mfcc"
        else "no models are in the store: `make models` fetches better ones"
    )
    return Choice("diarize/mfcc", load_mfcc, reason=why)


def _pipeline(settings: DiarizeSection, threads: int, asked: str) -> Choice:
    folder = settings.pipeline
    if folder is None or not (folder / "config.yaml").is_file():
        where = "diarize.pipeline is not set" if folder is None else f"{folder} has no config.yaml"
        raise TaskFailed("MODEL_MISSING", f"no pyannote.audio pipeline: {where}", field=asked)
    if find_spec("pyannote") is None or find_spec("pyannote.audio") is None:
        message = "pyannote.audio is not installed here: services/diarize/README.md says how"
        raise TaskFailed("ENGINE_MISSING", message, field=asked)
    load = partial(load_pipeline, folder, threads)
    return Choice(f"diarize/{folder}", load, settings.pipeline_memory_mib, "a pipeline folder is set")


def load_neural(segmentation: Path, campplus: Path, threads: int, model: str) -> Engine:
    """Load the embedded neural engine, into a process that is a model's."""
    from services.diarize.neural import SegmentationCampPlus

    give_back_large_blocks()
    return SegmentationCampPlus(segmentation, campplus, threads, model)


def load_mfcc() -> Engine:
    """Make the engine without weights."""
    from services.diarize.mfcc_f0 import MfccF0

    return MfccF0()


def load_pipeline(folder: Path, threads: int) -> Engine:
    """Load a pyannote.audio pipeline."""
    from services.diarize.pyannote_pipeline import PyannotePipeline

    return PyannotePipeline(folder, "auto", threads)
