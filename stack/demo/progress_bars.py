"""Progress bars for the terminal, one line a task; plain lines where there is no terminal."""

from __future__ import annotations

import sys
from typing import TextIO

_WIDTH = 30


class ProgressBars:
    """Draws the bars of a fixed list of names, in place when the output is a terminal."""

    def __init__(self, names: list[str], output: TextIO = sys.stdout) -> None:
        self._names = names
        self._lines = dict.fromkeys(names, "")
        self._output = output
        self._in_place = output.isatty()
        self._drawn = False

    def show(self, name: str, percent: float, note: str) -> None:
        """Draw one bar anew."""
        filled = round(_WIDTH * percent / 100)
        line = f"  {name:<28} [{'#' * filled}{'.' * (_WIDTH - filled)}] {percent:5.1f} %  {note[:40]}"
        if self._lines[name] == line:
            return
        self._lines[name] = line
        if not self._in_place:
            print(line, file=self._output, flush=True)
            return
        if self._drawn:
            self._output.write(f"\x1b[{len(self._names)}A")
        for each in self._lines.values():
            self._output.write(f"\x1b[2K{each}\n")
        self._output.flush()
        self._drawn = True
