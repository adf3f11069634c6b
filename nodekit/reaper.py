"""The reaper: a process beside the node that ends what the node started when the node itself dies, even by SIGKILL.

Its standard input is a pipe whose other end only the node holds; when that closes, every process with the node's mark is
killed. One is started per replica; it sleeps until it is told something and knows nothing else of the node.

It also ends the processes of a GPU lease that the node has not confirmed in time: the node may be frozen, and then it cannot.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from runtime.program import Program

_SCRIPT = Path(__file__).with_name("reaper_main.py")


class Reaper:
    """The node's end of the pipe."""

    def __init__(self, program: Program) -> None:
        self._program = program

    def end_at(self, prefix: str, boot_seconds: float) -> None:
        """Have every process whose mark begins with the prefix killed at this CLOCK_BOOTTIME, in place of an earlier order."""
        self._say(f"end {boot_seconds!r} {prefix}\n")

    def spare(self, prefix: str) -> None:
        """Take the order for a prefix back."""
        self._say(f"spare {prefix}\n")

    def _say(self, line: str) -> None:
        stdin = self._program.stdin
        if stdin is not None and not stdin.is_closing():
            stdin.write(line.encode())


@asynccontextmanager
async def reaping(prefix: str, folder: Path | None = None) -> AsyncIterator[Reaper]:
    """Have a reaper stand by for the time of the block; `folder` is removed as well when the node dies in it."""
    argv = [sys.executable, "-I", "-S", str(_SCRIPT), prefix, str(folder or "")]
    program = await Program.start(argv, stdin=True, stderr=False, environment={})
    try:
        yield Reaper(program)
    finally:
        program.close()
        await program.wait()
