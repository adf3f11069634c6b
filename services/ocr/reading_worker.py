"""What the node has its worker run. The engine is imported there, on first use, and never by the node."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from services.ocr.engine import Engine

if TYPE_CHECKING:
    from services.ocr.reading_items import Options, Progress, Result


def load(threads: int) -> Engine:
    """Load the engine; see `rapid.load`."""
    from services.ocr import rapid

    return rapid.load(threads)


def read_film(engine: Engine, path: Path, options: Options) -> Iterator[Progress | Result]:
    """Read a film; see `reading.read_film`."""
    from services.ocr import reading

    yield from reading.read_film(engine, path, options)
