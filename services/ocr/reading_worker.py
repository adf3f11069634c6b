"""What the node has its workers run. Engines and decoders are imported there, on first use, and never by the node."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from services.ocr.engine import Engine

if TYPE_CHECKING:
    from services.ocr.paddle_folder import PaddlePlace
    from services.ocr.reading_items import Options, Position, Progress, Result
    from services.ocr.step_items import Looked, PictureRead, StripsRead


def load(threads: int) -> Engine:
    """Load RapidOCR; see `by_script.load`."""
    from services.ocr import by_script

    return by_script.load(threads)


def load_paddle(place: PaddlePlace) -> Engine:
    """Load PaddleOCR; see `by_script.load_paddle`."""
    from services.ocr import by_script

    return by_script.load_paddle(place)


def read_film(engine: Engine, path: Path, options: Options, begun: Position) -> Iterator[Progress | Result]:
    """Read a film; see `reading.read_film`."""
    from services.ocr import reading

    yield from reading.read_film(engine, path, options, begun)


def read_strips(
    engine: Engine, manifest: Path, folder: Path, confidence: float, language: str
) -> Iterator[float | StripsRead]:
    """Read stitched pictures; see `strip_reading.read_strips`."""
    from services.ocr import strip_reading

    yield from strip_reading.read_strips(engine, manifest, folder, confidence, language)


def read_pictures(
    engine: Engine, paths: list[Path], confidence: float, language: str
) -> Iterator[PictureRead]:
    """Read single pictures; see `pictures.read_pictures`."""
    from services.ocr import pictures

    yield from pictures.read_pictures(engine, paths, confidence, language)


def look_for_zones(engine: Engine, paths: list[Path]) -> Looked:
    """Look for zones in pictures; see `pictures.look_for_zones`."""
    from services.ocr import pictures

    return pictures.look_for_zones(engine, paths)
