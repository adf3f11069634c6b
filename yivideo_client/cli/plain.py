"""Text of others on a terminal: what would move its cursor, colour it or break a line is written as what it is."""

from __future__ import annotations

import re

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_SPACES = "\t\n\r"


def plain(text: str) -> str:
    """Return text of a server, a node or a file's name on one line and without control characters."""
    return _CONTROL.sub(_written, text) if not text.isascii() or not text.isprintable() else text


def _written(found: re.Match[str]) -> str:
    character = found[0]
    if character in _SPACES:
        return " "
    return f"\\x{ord(character):02x}" if ord(character) < 0x100 else f"\\u{ord(character):04x}"
