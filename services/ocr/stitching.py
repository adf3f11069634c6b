"""Strips of many frames put below each other into few pictures, with a manifest that says which frame lies where."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from services.ocr.faults import FaultCode, OcrFault
from services.ocr.film import Luma
from services.ocr.picture_files import load, pictures_below

_QUALITY = 95
_MAX_SIDE = 65_000
"""JPEG's own limit is 65,535."""


@dataclass(frozen=True)
class Stitched:
    """What was written."""

    folder: Path
    manifest: Path
    pictures: int
    frames: int


def stitch(
    strips: Path, folder: Path, manifest: Path, together: int, show: Callable[[float], None] | None = None
) -> Stitched:
    """Write `mf_00000001.jpg` and so on, `together` strips each, and the manifest.

    A strip's frame is the number that its file is named by, or its place from 1. Raises OcrFault: NO_PICTURES, PICTURE_UNREADABLE.
    """
    paths = pictures_below(strips)
    numbers = _numbers(paths)
    entries: dict[str, Any] = {}
    batch: list[tuple[int, Luma]] = []
    for place, (number, path) in enumerate(zip(numbers, paths, strict=True)):
        strip = load(path)
        rows = sum(one.shape[0] for _, one in batch) + strip.shape[0]
        if max(rows, strip.shape[1]) > _MAX_SIDE and not batch:
            raise OcrFault(
                FaultCode.PICTURE_UNREADABLE, f"{path.name} is larger than a stitched picture can be"
            )
        if batch and (len(batch) == together or rows > _MAX_SIDE):
            _write(folder, entries, batch)
            batch = []
        batch.append((number, strip))
        if show:
            show(place / len(paths))
    _write(folder, entries, batch)
    manifest.write_text(json.dumps(entries), encoding="utf-8")
    return Stitched(folder, manifest, len(entries), len(paths))


def _numbers(paths: list[Path]) -> list[int]:
    stems = [path.stem for path in paths]
    if all(stem.isdigit() for stem in stems) and len({int(stem) for stem in stems}) == len(stems):
        return [int(stem) for stem in stems]
    return list(range(1, len(paths) + 1))


def _write(folder: Path, entries: dict[str, Any], batch: list[tuple[int, Luma]]) -> None:
    name = f"mf_{len(entries) + 1:08d}.jpg"
    width = max(strip.shape[1] for _, strip in batch)
    stitched = np.zeros((sum(strip.shape[0] for _, strip in batch), width), np.uint8)
    top, parts = 0, []
    for number, strip in batch:
        height = strip.shape[0]
        stitched[top : top + height, : strip.shape[1]] = strip
        parts.append({"frame_idx": number, "height": height, "y_offset": top, "x_offset": 0})
        top += height
    Image.fromarray(stitched).save(folder / name, quality=_QUALITY)
    entries[name] = {"stitched_height": top, "sub_images": parts}
