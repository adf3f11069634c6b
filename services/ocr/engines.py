"""Which engine a task gets, and how a worker loads it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from nodekit import TaskContext, WarmModel
from nodekit.models import model_store
from services.ocr import reading_worker
from services.ocr.engine import Engine
from services.ocr.faults import FaultCode, OcrFault
from services.ocr.paddle_folder import NAME as PADDLE
from services.ocr.paddle_folder import Kind, PaddleFolder, PaddlePlace, read_folder
from services.ocr.settings import EngineName, OcrSection, ocr_settings

RAPID, _RAPID_MODELS = "rapidocr", "PP-OCRv6_det_small+PP-OCRv6_rec_small"
_HOW = "`make environment name=paddle` makes one that has it (services/ocr/README.md)"


@dataclass(frozen=True)
class Choice:
    """An engine that is to be loaded."""

    name: str
    models: str
    """Its networks: detector and recogniser."""
    key: str
    """Names the loaded engine among warm models."""
    load: Callable[[], Engine]
    """Loads it; for a worker process."""
    reason: str
    """Why this one, for people."""
    memory_mib: int | None = None
    """GPU memory it asks for; None: it runs on the processor."""

    @property
    def identity(self) -> str:
        """What reads: a reading goes on where another process of the same has stopped."""
        return f"{self.name} {self.models}"

    def warm(self, context: TaskContext) -> AbstractAsyncContextManager[WarmModel]:
        """Hold the loaded engine for the time of the block, with a GPU's memory where it is to run on one."""
        on_processor = self.memory_mib is None
        return context.warm(self.key, self.load, memory_mib=self.memory_mib or 0, processor=on_processor)


def choose(name: EngineName, settings: OcrSection, models: Path, threads: int) -> Choice:
    """Return the engine for a task that asks for `name`; `models` is the model store's folder.

    Raises OcrFault: MODEL_MISSING or MODEL_UNSUITABLE, which name the setting; ENGINE_MISSING when the packages are not here.
    """
    asked = "/engine" if name != "auto" else ""
    if name == "auto":
        name = settings.engine
    try:
        folders_set = settings.detector_folder or settings.recogniser_folder
        if name == PADDLE or (name == "auto" and folders_set):
            return _paddle(
                settings, models, threads, "its folders are set" if not asked else "it was asked for"
            )
        return _rapid(threads, "no folders of PaddleOCR are set" if name == "auto" else "it was asked for")
    except OcrFault as fault:
        raise OcrFault(fault.code, fault.message, asked) from None


async def engine_for(name: EngineName, context: TaskContext) -> Choice:
    """Return the engine of a task; see `choose`."""
    return await asyncio.to_thread(choose, name, ocr_settings(), model_store().root, context.threads)


def published() -> list[str]:
    """Return the engines that are here, for the node to publish: what a task that asks for them gets."""
    return engines_here(ocr_settings(), model_store().root)


def engines_here(settings: OcrSection, models: Path) -> list[str]:
    """Return `engine/version`, or `engine/models`, of those whose packages and model folders are here."""
    found = []
    rapid = _version(RAPID)
    if rapid:
        found.append(f"{RAPID}/{rapid}")
    if _version(PADDLE):
        try:
            detector, recogniser = _folders(settings, models)
        except OcrFault:
            return found
        found.append(f"{PADDLE}/{detector.name}+{recogniser.name}")
    return found


def _rapid(threads: int, reason: str) -> Choice:
    if not _version(RAPID):
        raise OcrFault(
            FaultCode.ENGINE_MISSING,
            "RapidOCR is not installed in this environment, which is PaddleOCR's: read with that (ocr.detector_folder, "
            "ocr.recogniser_folder), or run the node in the environment `light`",
        )
    load = partial(reading_worker.load, threads)
    return Choice(RAPID, _RAPID_MODELS, f"{RAPID}/{threads}", load, reason)


def _paddle(settings: OcrSection, models: Path, threads: int, reason: str) -> Choice:
    detector, recogniser = _folders(settings, models)
    if not _version(PADDLE):
        raise OcrFault(FaultCode.ENGINE_MISSING, f"PaddleOCR is not installed here: {_HOW}")
    # Whether there is a card is for the worker to find: only a build for cards is worth waiting for one.
    on_card = settings.device == "cuda" or (settings.device == "auto" and bool(_version("paddlepaddle-gpu")))
    place = PaddlePlace(
        detector,
        recogniser,
        settings.device,
        threads,
        settings.batch_size,
        settings.limit_side,
        settings.onednn,
    )
    return Choice(
        PADDLE,
        f"{detector.name}+{recogniser.name}",
        f"{PADDLE}/{detector.path}/{recogniser.path}/{settings.device}/{threads}",
        partial(reading_worker.load_paddle, place),
        reason,
        settings.memory_mib if on_card else None,
    )


def _folders(settings: OcrSection, models: Path) -> tuple[PaddleFolder, PaddleFolder]:
    return (
        _folder(settings.detector_folder, models, "detector"),
        _folder(settings.recogniser_folder, models, "recogniser"),
    )


def _folder(given: Path | None, models: Path, kind: Kind) -> PaddleFolder:
    setting = f"ocr.{kind}_folder"
    if given is None:
        raise OcrFault(FaultCode.MODEL_MISSING, f"PaddleOCR needs a {kind}: {setting} is not set")
    return read_folder(models / given, kind, setting)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
