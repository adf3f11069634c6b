"""Data on stdout: as JSON for programs, as a table for people."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

import orjson


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
    """Write rows under their columns; as wide as they are when stdout is no terminal, so that `grep` and `cut` work."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD if sys.stdout.isatty() else None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row))
    console = Console() if sys.stdout.isatty() else Console(width=10_000, no_color=True, highlight=False)
    if sys.stdout.isatty():
        console.print(table)
        return
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        print(line.rstrip())


def print_facts(facts: Mapping[str, object]) -> None:
    """Write names and values, a line each."""
    width = max(map(len, facts), default=0)
    for name, value in facts.items():
        print(f"{name:<{width}}  {_cell(value)}")


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
    return str(value).replace("\n", " ")
