"""What an attempt leaves to the next one: the lines read so far and where to go on, packed so that hours of film fit."""

from __future__ import annotations

import base64
import hashlib
import json
import lzma
from dataclasses import astuple
from pathlib import Path
from typing import Any

from nodekit.context import MAX_CHECKPOINT_BYTES
from services.ocr.cue import ReadLine
from services.ocr.engine import Box, Runs
from services.ocr.reading_items import Options, Position

_VERSION = 1
_ROOM_BYTES = MAX_CHECKPOINT_BYTES - 1024
_HEAD_BYTES = 1024 * 1024


def fingerprint(film: Path, options: Options, engine: str) -> str:
    """Return what names the work: the film (its size, beginning and end), the options, the engine."""
    digest = hashlib.sha256(repr((options, engine, film.stat().st_size)).encode())
    with film.open("rb") as file:
        digest.update(file.read(_HEAD_BYTES))
        file.seek(max(0, film.stat().st_size - _HEAD_BYTES))
        digest.update(file.read())
    return digest.hexdigest()[:32]


def to_checkpoint(position: Position, of: str) -> dict[str, Any] | None:
    """Return a checkpoint; None when it has grown over what one may hold: then the one before stays."""
    body = {
        "until": position.until,
        "lines": [_packed(line) for line in position.lines],
        "open": [(astuple(box), start) for box, start in position.open_lines],
        "zones": position.zones,
        "frames": position.frames,
        "runs": astuple(position.runs),
    }
    text = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
    packed = base64.b85encode(lzma.compress(text.encode(), preset=6)).decode()
    if len(packed) > _ROOM_BYTES:
        return None
    return {"version": _VERSION, "of": of, "read": packed}


def from_checkpoint(saved: dict[str, Any] | None, of: str) -> Position:
    """Return where an earlier attempt has come to; the beginning, when there was none or it read something else."""
    if not saved or saved.get("version") != _VERSION or saved.get("of") != of:
        return Position()
    try:
        body = json.loads(lzma.decompress(base64.b85decode(saved["read"])))
    except (KeyError, TypeError, ValueError, lzma.LZMAError):
        return Position()
    return Position(
        until=body["until"],
        lines=tuple(_unpacked(row) for row in body["lines"]),
        open_lines=tuple((Box(*box), start) for box, start in body["open"]),
        zones=tuple((x1, y1, x2, y2) for x1, y1, x2, y2 in body["zones"]),
        frames=body["frames"],
        runs=Runs(*body["runs"]),
    )


def _packed(line: ReadLine) -> list[Any]:
    raw = "" if line.raw == line.text else line.raw
    return [line.start, line.end, line.text, raw, round(line.confidence, 4), astuple(line.box)]


def _unpacked(row: list[Any]) -> ReadLine:
    start, end, text, raw, confidence, box = row
    return ReadLine(start, end, text, raw or text, confidence, Box(*box))
