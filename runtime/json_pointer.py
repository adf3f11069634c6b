"""Steps of a JSON pointer (RFC 6901): how names are written into one and read out of it."""

from __future__ import annotations


def escaped(step: object) -> str:
    """Return a member's name, or an index, as a pointer has it behind its slash."""
    return str(step).replace("~", "~0").replace("/", "~1")


def unescaped(step: str) -> str:
    """Return the name that a pointer's step stands for."""
    return step.replace("~1", "/").replace("~0", "~")
