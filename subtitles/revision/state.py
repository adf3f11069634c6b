"""What is settled of a revision, packed small, so that the next attempt at a task need not ask for it again."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

from subtitles.revision.revision import Refused, Revision
from subtitles.revision.verdict import Refusal

_VERSION = 1
_MOST_BYTES = 64 << 20


def pack(revision: Revision, fingerprint: str, limit_bytes: int) -> dict[str, Any] | None:
    """Return a checkpoint of at most so many bytes; None when it has grown over that: then the one before stays."""
    own = {line.id: line.text for line in revision.lines}
    body = {
        "texts": {number: text for number, text in revision.texts.items() if text != own[number]},
        "kept": [number for number, text in revision.texts.items() if text == own[number]],
        "refused": {
            number: [one.refusal.value, one.proposed[:200], one.attempts]
            for number, one in revision.refused.items()
        },
    }
    raw = json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
    packed = base64.b85encode(zlib.compress(raw, 9)).decode()
    if len(packed) > limit_bytes:
        return None
    return {"version": _VERSION, "fingerprint": fingerprint, "settled": packed}


def unpack(
    checkpoint: dict[str, Any] | None, fingerprint: str
) -> tuple[dict[int, str | None], dict[int, Refused]]:
    """Return the texts (None: the line's own) and refusals of a checkpoint; empty when it is none, or of other work."""
    if (
        not checkpoint
        or checkpoint.get("version") != _VERSION
        or checkpoint.get("fingerprint") != fingerprint
    ):
        return {}, {}
    try:
        stream = zlib.decompressobj()
        body = json.loads(stream.decompress(base64.b85decode(checkpoint["settled"]), _MOST_BYTES))
        texts: dict[int, str | None] = {int(number): str(text) for number, text in body["texts"].items()}
        texts |= {int(number): None for number in body["kept"]}
        refused = {
            int(number): Refused(Refusal(kind), str(text), int(attempts))
            for number, (kind, text, attempts) in body["refused"].items()
        }
    except (KeyError, ValueError, TypeError, AttributeError, zlib.error):
        return {}, {}
    return texts, refused
