"""Journals: what happened on a device, written by who did it, outside YiVideo.

A line is appended with one write and carries the time before it; a start and an end are synced. Whoever is killed has written until
then, and whoever is frozen writes nothing: the time between a use's first and last line is the time in which it used the device.
This file imports only the standard library, because the programs under attack run it too.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

START, TICK, END, PUBLISH = "start", "tick", "end", "publish"


@dataclass(frozen=True)
class Line:
    """One line."""

    time: int
    """CLOCK_MONOTONIC in nanoseconds."""
    kind: str
    """start, tick, end, or publish."""
    device: str
    """Device."""
    token: int
    """Fencing token of the lease."""
    task: str
    """What it was done for."""
    accepted: bool = True
    """Of a publish: whether the resource took it."""


class Journal:
    """Appends one program's lines."""

    def __init__(self, path: Path, device: str, token: int, task: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._about = (device, token, task)

    def write(self, kind: str, *, accepted: bool = True) -> None:
        """Append a line about now."""
        device, token, task = self._about
        line = Line(time.monotonic_ns(), kind, device, token, task, accepted)
        os.write(self._file, json.dumps(asdict(line)).encode() + b"\n")
        if kind != TICK:
            os.fsync(self._file)


def read(folder: Path) -> list[Line]:
    """Return every whole line of every journal, by time."""
    return sorted(_lines(sorted(folder.glob("*.journal"))), key=lambda line: line.time)


def _lines(paths: Iterable[Path]) -> Iterator[Line]:
    for path in paths:
        for text in path.read_bytes().split(b"\n")[:-1]:
            yield Line(**json.loads(text))
