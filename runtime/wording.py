"""What a client sent, as far as an error repeats it."""

from __future__ import annotations

_HEAD = 100
_TAIL = 200


def in_brief(text: str) -> str:
    """Return a text with its middle left out where it is long: what is wrong with a value is said before or behind it."""
    return text if len(text) <= _HEAD + _TAIL + 3 else f"{text[:_HEAD]} … {text[-_TAIL:]}"
