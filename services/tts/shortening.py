"""Shorter ways to say a line, by rule: what is beside the point goes first, then clauses from the end."""

from __future__ import annotations

import re
from collections.abc import Iterator

_ASIDE = re.compile(r"\s*(?:\([^()]*\)|\[[^\[\]]*\]|（[^（）]*）|【[^【】]*】)")
_FILLERS = re.compile(
    r"(?:^|(?<=[,.;!?]\s))(?:well|oh|uh|um|er|you know|i mean|actually|basically|really|so|now|look|listen),\s*",
    re.IGNORECASE,
)
"""Words that hold a place, where a comma sets them off."""
_CLAUSE_END = re.compile(r"(?<=[,;:.!?…—])\s+|(?<=[，；：。！？、])")
_LEAST_SHARE = 0.4
"""Of a line's characters, below which nothing more is taken away: what is left would not be the line any more."""


def shorter(text: str) -> Iterator[str]:
    """Give shorter versions of a text, each shorter than the one before it; none where nothing can go."""
    least = _LEAST_SHARE * len(_ASIDE.sub("", text))
    last = text
    for version in _versions(text):
        if len(version) < len(last) and len(version) >= least and any(map(str.isalnum, version)):
            last = version
            yield version


def _versions(text: str) -> Iterator[str]:
    bare = _ASIDE.sub("", text).strip()
    yield bare
    lean = _FILLERS.sub("", bare).strip()
    lean = lean[:1].upper() + lean[1:] if bare[:1].isupper() else lean
    yield lean
    clauses = _CLAUSE_END.split(lean)
    for kept in range(len(clauses) - 1, 0, -1):
        joint = "" if clauses[0][-1:] > "⺀" else " "
        yield joint.join(clauses[:kept]).rstrip(",;:—，；：、 ")
