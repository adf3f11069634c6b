"""What the node has the model's worker run. The engine is imported there, on first use, and never by the node."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from services.asr.whisper_items import Options, Plan, WindowDone

if TYPE_CHECKING:
    from services.asr.whisper import Recogniser


def load(folder: Path, device: str, compute_type: str, threads: int) -> Recogniser:
    """Load a model; see `whisper.load`."""
    from services.asr import whisper

    return whisper.load(folder, device, compute_type, threads)


def transcribe(model: Recogniser, path: Path, options: Options, skip: int = 0) -> Iterator[Plan | WindowDone]:
    """Hear a recording; see `whisper.transcribe`."""
    from services.asr import whisper

    yield from whisper.transcribe(model, path, options, skip)
