"""What an attempt leaves to the next one: everything heard so far, packed so that more than an hour fits a checkpoint.

A failed attempt's stored files are deleted, so that the transcript itself travels in the checkpoint: columns of numbers and one
text, compressed. Tokens are left out; they can be made of the text again.
"""

from __future__ import annotations

import base64
import json
import lzma
from collections.abc import Sequence
from dataclasses import astuple, dataclass, field
from typing import Any

from nodekit.context import MAX_CHECKPOINT_BYTES
from services.asr.transcript import Coverage, Decoding, Segment, Word

_VERSION = 1
_ROOM_BYTES = MAX_CHECKPOINT_BYTES - 1024
_TICKS = 100
"""Times are kept in hundredths of a second."""


@dataclass
class Progressed:
    """What was heard so far."""

    segments: list[Segment] = field(default_factory=list)
    positions: dict[int, float] = field(default_factory=dict)
    """How far each channel was heard."""
    coverage: Coverage = field(default_factory=Coverage)
    dropped: int = 0


def to_checkpoint(progressed: Progressed, fingerprint: str) -> dict[str, Any] | None:
    """Return a checkpoint; None when it has grown over what one may hold: then the one before stays.

    `fingerprint` names what the work is of: recording, engine and options.
    """
    body = json.dumps(
        {
            "segments": [_packed(segment) for segment in progressed.segments],
            "positions": list(progressed.positions.items()),
            "coverage": astuple(progressed.coverage),
            "dropped": progressed.dropped,
        },
        separators=(",", ":"),
        ensure_ascii=False,
    )
    packed = base64.b85encode(lzma.compress(body.encode(), preset=6)).decode()
    if len(packed) > _ROOM_BYTES:
        return None
    return {"version": _VERSION, "of": fingerprint, "heard": packed}


def from_checkpoint(saved: dict[str, Any] | None, fingerprint: str) -> Progressed:
    """Return what an earlier attempt has heard; nothing, when there was none or it heard something else."""
    if not saved or saved.get("version") != _VERSION or saved.get("of") != fingerprint:
        return Progressed()
    try:
        body = json.loads(lzma.decompress(base64.b85decode(saved["heard"])))
    except (KeyError, TypeError, ValueError, lzma.LZMAError):
        return Progressed()
    speech, text, missed = body["coverage"]
    return Progressed(
        [_unpacked(row) for row in body["segments"]],
        {int(channel): float(until) for channel, until in body["positions"]},
        Coverage(speech, text, tuple((float(start), float(end)) for start, end in missed)),
        body["dropped"],
    )


def _packed(segment: Segment) -> list[Any]:
    origin = round(segment.start * _TICKS)
    words = segment.words
    return [
        origin,
        segment.language,
        segment.channel,
        [round(value, 3) for value in astuple(segment.decoding)],
        [word.text for word in words],
        _steps([round(instant * _TICKS) for word in words for instant in (word.start, word.end)], origin),
        [round(word.probability * 100) for word in words],
        [number for number, word in enumerate(words) if not word.aligned],
    ]


def _unpacked(row: Sequence[Any]) -> Segment:
    origin, language, channel, decoding, texts, steps, probabilities, unaligned = row
    instants, clock = [], origin
    for step in steps:
        clock += step
        instants.append(clock / _TICKS)
    words = tuple(
        Word(
            instants[2 * number],
            instants[2 * number + 1],
            text,
            probabilities[number] / 100,
            number not in unaligned,
        )
        for number, text in enumerate(texts)
    )
    return Segment(
        start=words[0].start,
        end=words[-1].end,
        text="".join(texts).strip(),
        words=words,
        language=language,
        decoding=Decoding(*decoding),
        channel=channel,
    )


def _steps(instants: Sequence[int], origin: int) -> list[int]:
    """Return how far each instant is from the one before: small numbers, which pack well."""
    steps, clock = [], origin
    for instant in instants:
        steps.append(instant - clock)
        clock = instant
    return steps
