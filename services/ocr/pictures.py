"""Single pictures read whole: every line of text, from top to bottom."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from services.ocr.cue import normalised
from services.ocr.engine import Box, Engine, Runs
from services.ocr.faults import OcrFault
from services.ocr.film import Luma
from services.ocr.picture_files import load
from services.ocr.reader import level
from services.ocr.step_items import Looked, PictureLine, PictureRead
from services.ocr.text_rows import rows
from services.ocr.zones import zones_of

_SIDE = 1280
"""Pictures are made so large at most before the detector sees them."""
_LEAST_SIDE = 320
"""Smaller ones get a border: the detector misses text that fills a picture."""


def read_pictures(
    engine: Engine, paths: list[Path], confidence: float, language: str
) -> Iterator[PictureRead]:
    """Yield what each picture says; one that cannot be read is no error of the others."""
    engine.begin(language, Runs())
    for path in paths:
        try:
            luma = load(path)
        except OcrFault as fault:
            yield PictureRead(path.name, error=fault.message)
            continue
        lines = tuple(_lines(engine, luma, confidence))
        yield PictureRead(path.name, lines, engine=engine.name)


def _lines(engine: Engine, luma: Luma, confidence: float) -> list[PictureLine]:
    boxes = rows(_found(engine, luma))
    margins = [box.grown(max(1, box.height // 12)).within(luma.shape[1], luma.shape[0]) for box in boxes]
    crops = [level(luma[box.top : box.bottom, box.left : box.right]) for box in margins]
    lines = [
        PictureLine(normalised(one.text), one.confidence, box)
        for one, box in zip(engine.read(crops), boxes, strict=True)
        if one.confidence >= confidence and one.text.strip()
    ]
    return _in_order(lines)


def _found(engine: Engine, luma: Luma) -> list[Box]:
    height, width = luma.shape
    scale = min(1.0, _SIDE / max(height, width))
    small = luma
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = np.asarray(cv2.resize(luma, size, interpolation=cv2.INTER_AREA), np.uint8)
    border = max(0, (_LEAST_SIDE - min(small.shape)) // 2)
    if border:
        small = np.asarray(
            cv2.copyMakeBorder(small, border, border, border, border, cv2.BORDER_REPLICATE), np.uint8
        )
    (boxes,) = engine.find([small], of_a_film=False)
    moved = (Box(b.left - border, b.top - border, b.right - border, b.bottom - border) for b in boxes)
    return [
        box
        for one in moved
        if (box := one.scaled(1 / scale).within(width, height)).width > 3 and box.height > 3
    ]


def _in_order(lines: list[PictureLine]) -> list[PictureLine]:
    """Sort into rows from top to bottom, and in each from left to right."""
    ordered: list[PictureLine] = []
    left = sorted(lines, key=lambda one: one.box.top + one.box.bottom)
    while left:
        first = left[0]
        row = [one for one in left if _same_row(first.box, one.box)]
        ordered += sorted(row, key=lambda one: one.box.left)
        left = [one for one in left if one not in row]
    return ordered


def _same_row(one: Box, other: Box) -> bool:
    shared = min(one.bottom, other.bottom) - max(one.top, other.top)
    return shared > 0.6 * min(one.height, other.height)


def look_for_zones(engine: Engine, paths: list[Path]) -> Looked:
    """Look for subtitle zones in pictures; those of another size than the first that can be read are left out."""
    size: tuple[int, ...] = ()
    unreadable: list[str] = []

    def usable() -> Iterator[Luma]:
        nonlocal size
        for path in paths:
            try:
                luma = load(path)
            except OcrFault:
                unreadable.append(path.name)
                continue
            size = size or luma.shape
            if luma.shape == size:
                yield luma
            else:
                unreadable.append(path.name)

    found = zones_of(engine, usable())
    return Looked(found, size[1] if size else 0, size[0] if size else 0, tuple(unreadable))
