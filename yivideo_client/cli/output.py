"""Data on stdout: as JSON for programs, as a table for people."""

from __future__ import annotations

import os
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

import orjson

from yivideo_client.cli.plain import plain

_LEAST_CELLS = 10
"""What is left of a last column that gives way; a terminal narrower than that breaks lines itself."""


class Format(StrEnum):
    """How data is written."""

    JSON = "json"
    TABLE = "table"


def print_json(value: Any) -> None:
    """Write one JSON value, indented."""
    sys.stdout.write(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode() + "\n")
    sys.stdout.flush()


def print_json_line(value: Any) -> None:
    """Write one JSON value on a line, at once."""
    sys.stdout.write(orjson.dumps(value).decode() + "\n")
    sys.stdout.flush()


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write rows under their columns, a line each: `grep` and `cut` work, and what is copied from a terminal is whole.

    Where a terminal is too narrow the last column gives way, as far as something of it is left.
    """
    cells = [list(columns), *([_cell(value) for value in row] for row in rows)]
    widths = [max(map(_width, column)) for column in zip(*cells, strict=True)]
    room = shutil.get_terminal_size().columns - sum(widths[:-1]) - 2 * (len(widths) - 1)
    is_terminal = sys.stdout.isatty()
    head, foot = ("\x1b[1m", "\x1b[0m") if is_terminal and _may_style() else ("", "")
    for index, row in enumerate(cells):
        last = _cut(row[-1], room) if is_terminal and room >= _LEAST_CELLS else row[-1]
        padded = [text + " " * (width - _width(text)) for text, width in zip(row[:-1], widths, strict=False)]
        line = "  ".join([*padded, last]).rstrip()
        print(f"{head}{line}{foot}" if index == 0 else line)


def _may_style() -> bool:
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _width(text: str) -> int:
    """Return how many cells of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(one) else 2 if unicodedata.east_asian_width(one) in "WF" else 1
        for one in text
    )


def _cut(text: str, room: int) -> str:
    while _width(text) > room:
        text = text[: min(len(text) - 2, room - 1)] + "…"
    return text


def print_facts(facts: Mapping[str, object]) -> None:
    """Write names and values, a line each."""
    width = max(map(len, facts), default=0)
    for name, value in facts.items():
        print(f"{name:<{width}}  {_cell(value)}")
    sys.stdout.flush()


def local_facts(source: str, written: Sequence[Path]) -> dict[str, object]:
    """Return which local file went in and which came out, for `print_facts`."""
    facts: dict[str, object] = {"input": source} if source else {}
    for index, path in enumerate(written):
        facts["written" if index == 0 else f"  +{index}"] = path
    return facts


def with_local_files(raw: Mapping[str, Any], source: str, written: Sequence[Path]) -> dict[str, Any]:
    """Add to a server's answer which local file went in and which came out, for `print_json_line`."""
    return {
        **raw,
        "local_input": _as_text(source) or None,
        "local_files": [_as_text(str(path)) for path in written],
    }


def _as_text(name: str) -> str:
    """Return a local file's name as JSON can have it: bytes that are no text are written `\\xff`."""
    return os.fsencode(name).decode(errors="backslashreplace")


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.1f}"
    return plain(str(value))
