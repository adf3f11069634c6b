"""Stitched pictures read: each strip is a frame, followed and read as those of a film are, so that a line is read once.

The manifest may be another program's: every number in it is checked against the pictures.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import groupby
from pathlib import Path
from typing import Any

from services.ocr.cue import normalised
from services.ocr.engine import Box, Engine, Reading, Runs
from services.ocr.faults import FaultCode, OcrFault
from services.ocr.film import Frame, Luma
from services.ocr.following import Follower
from services.ocr.gate import Gate
from services.ocr.line import Line
from services.ocr.picture_files import load
from services.ocr.reader import Reader
from services.ocr.step_items import FrameText, StripsRead
from services.ocr.view import LEAST_SIDE

_STEP_SECONDS = 0.1
"""Strips are numbered, and have no times: each is a sample."""


@dataclass(frozen=True)
class _Part:
    """Where one frame's strip lies."""

    picture: str
    number: int
    top: int
    left: int
    height: int


def read_strips(
    engine: Engine, manifest: Path, folder: Path, confidence: float, language: str
) -> Iterator[float | StripsRead]:
    """Read all strips; yields the share done, and the whole at last.

    Raises OcrFault: MANIFEST_UNREADABLE, PICTURE_MISSING, PICTURE_UNREADABLE.
    """
    parts = _parts(manifest)
    engine.begin(language, Runs())
    texts: list[FrameText] = []
    done = 0
    strips = _strips(parts, folder)
    for _, run in groupby(strips, key=lambda one: one[1].shape):
        numbers: list[int] = []
        read: list[tuple[Line, Reading]] = []
        reader = Reader(engine)
        for piece in Follower(engine, gate=Gate(patient=False)).follow(_frames(run, numbers)):
            done += piece.frames
            read += reader.add(piece.lines, piece.until)
            yield done / len(parts)
        read += reader.flush()
        texts += _by_frame([one for one in read if one[1].confidence >= confidence], numbers)
    yield StripsRead(tuple(texts), len(parts), engine.runs, engine.name)


def _frames(run: Iterable[tuple[int, Luma]], numbers: list[int]) -> Iterator[Frame]:
    """Give strips as frames, and note which frame of the film each is."""
    for place, (number, strip) in enumerate(run):
        numbers.append(number)
        yield Frame(place * _STEP_SECONDS, strip)


def _by_frame(read: Sequence[tuple[Line, Reading]], numbers: Sequence[int]) -> list[FrameText]:
    shown: dict[int, list[tuple[Line, Reading]]] = {}
    for line, reading in read:
        for place in range(line.first, line.last + 1):
            shown.setdefault(place, []).append((line, reading))
    texts = []
    for place in sorted(shown):
        lines = sorted(shown[place], key=lambda one: (one[0].box.top, one[0].box.left))
        text = " ".join(normalised(reading.text) for _, reading in lines if reading.text.strip())
        if text:
            box = reduce(Box.joined, (line.box for line, _ in lines))
            texts.append(FrameText(numbers[place], text, box))
    return texts


def _strips(parts: Sequence[_Part], folder: Path) -> Iterator[tuple[int, Luma]]:
    """Cut the strips out of their pictures, each of which is opened once where frames are in order."""
    opened: tuple[str, Luma] | None = None
    for part in parts:
        if opened is None or opened[0] != part.picture:
            path = folder / part.picture
            if Path(part.picture).name != part.picture or not path.is_file():
                raise OcrFault(
                    FaultCode.PICTURE_MISSING,
                    f"the manifest names {part.picture}, which is not there",
                    "/multi_frames_path",
                )
            opened = part.picture, load(path)
        picture = opened[1]
        strip = picture[part.top : part.top + part.height, part.left :]
        if min(part.top, part.left) < 0 or strip.shape[0] != part.height or min(strip.shape) < LEAST_SIDE:
            message = f"the strip of frame {part.number} does not lie in {part.picture}"
            raise OcrFault(FaultCode.MANIFEST_UNREADABLE, message, "/manifest_path")
        yield part.number, strip


def _parts(manifest: Path) -> list[_Part]:
    try:
        document: Any = json.loads(manifest.read_bytes())
        parts = [
            _Part(
                str(name),
                int(part["frame_idx"]),
                int(part["y_offset"]),
                int(part.get("x_offset", 0)),
                int(part["height"]),
            )
            for name, entry in document.items()
            for part in entry["sub_images"]
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise OcrFault(
            FaultCode.MANIFEST_UNREADABLE, "the manifest is not one of stitched pictures", "/manifest_path"
        ) from None
    if not parts:
        raise OcrFault(FaultCode.MANIFEST_UNREADABLE, "the manifest names no picture", "/manifest_path")
    return sorted(parts, key=lambda part: part.number)
