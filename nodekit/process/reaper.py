"""The reaper: a process beside the node that ends what the node started when the node itself dies, even by SIGKILL, or freezes.

Its standard input is a pipe whose other end only the node holds. When that closes, every process with the node's mark is killed.
The node's event loop writes the time into it; a node that has not for `frozen_seconds` (stopped, swapped out, suspended, its loop
blocked) is killed first. A frozen node cannot notice that the scheduler gave its work to another, but its children go on working,
and it would itself when it thaws: who cannot say in time that it lives must not work (docs/adr/0012).

It also knows until when each GPU lease of the node is good, and ends the processes of one that was not confirmed in time: they must
be gone before the lock service lets the next holder in, whether the node can act or not (docs/adr/0009).

Once nothing of a dead node is left it gives the node's leases back, by a program of its own (`release_on_death`, `note_open`).

One is started per replica, and another when it dies; it sleeps in one system call and knows nothing else of the node.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from runtime.logs import get_logger
from runtime.program import Program

log = get_logger(__name__)

_SCRIPT = Path(__file__).with_name("reaper_main.py")
_ENVIRONMENT = {"PYTHONPATH": os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)}
"""What the orphan release finds our modules by; the reaper itself is isolated from it."""
_STAMPS_A_LIMIT = 10
_LOOK_SECONDS = 1.0


class Reaper:
    """The node's end of the pipe. What was ordered outlives the reaper's process: its successor is told again."""

    def __init__(self, prefix: str, folder: Path | None, frozen_seconds: float) -> None:
        script = [sys.executable, "-I", "-S", str(_SCRIPT)]
        self._argv = [*script, str(os.getpid()), prefix, str(folder or ""), str(frozen_seconds)]
        self._feeds = frozen_seconds > 0
        self._period_seconds = frozen_seconds / _STAMPS_A_LIMIT or _LOOK_SECONDS
        self._orders: dict[str, float] = {}
        self._terms = ""
        self._open: dict[str, int] = {}
        self._program: Program

    async def start(self) -> None:
        """Start the process, and tell it what was ordered before."""
        self._program = await Program.start(self._argv, stdin=True, stderr=False, environment=_ENVIRONMENT)
        for prefix, boot_seconds in self._orders.items():
            self._say(f"end {boot_seconds!r} {prefix}\n")
        if self._terms:
            self._say(f"terms {self._terms}\n")
        for request_id, token in self._open.items():
            self._say(f"open {token} {json.dumps(request_id)}\n")

    def end_at(self, prefix: str, boot_seconds: float) -> None:
        """Have every process whose mark begins with the prefix killed at this CLOCK_BOOTTIME, in place of an earlier order."""
        self._orders[prefix] = boot_seconds
        self._say(f"end {boot_seconds!r} {prefix}\n")

    def spare(self, prefix: str) -> None:
        """Take the order for a prefix back."""
        if self._orders.pop(prefix, None) is not None:
            self._say(f"spare {prefix}\n")

    def release_on_death(self, terms: str) -> None:
        """Have `nodekit/gpu/orphan_release.py` run on these terms (one line) if the node dies while it has requests open."""
        self._terms = terms
        self._say(f"terms {terms}\n")

    def note_open(self, request_id: str, token: int) -> None:
        """Note that the lock service may know this request; `token` is that of its grant, 0 before."""
        if self._open.get(request_id) != token:
            self._open[request_id] = token
            self._say(f"open {token} {json.dumps(request_id)}\n")

    def note_closed(self, request_id: str) -> None:
        """Note that a request has ended."""
        if self._open.pop(request_id, None) is not None:
            self._say(f"closed {json.dumps(request_id)}\n")

    async def keep(self) -> None:
        """Tell it the time, and that it is needed, for ever."""
        while True:
            if self._program.returncode is not None:
                log.error("the reaper was killed; starting another", status=self._program.returncode)
                self._program.close()
                with contextlib.suppress(OSError):  # out of processes: at the next turn again
                    await self.start()
            elif self._feeds:
                self._feed()
            await asyncio.sleep(self._period_seconds)

    def _feed(self) -> None:
        stdin = self._program.stdin
        assert stdin is not None
        # A reaper that does not read (it is frozen itself) finds the times that fit into the pipe when it does again.
        if not stdin.transport.get_write_buffer_size():
            self._say(f"alive {time.clock_gettime(time.CLOCK_BOOTTIME)!r}\n")

    def _say(self, line: str) -> None:
        stdin = self._program.stdin
        assert stdin is not None
        if not stdin.is_closing():
            with contextlib.suppress(RuntimeError):  # uvloop, on a pipe that is closed already
                stdin.write(line.encode())

    async def dismiss(self) -> None:
        """Let it do its work and end. What is still open then, because nobody has answered, runs out by itself."""
        for request_id in list(self._open):
            self.note_closed(request_id)
        self._program.close()
        await self._program.wait()


@asynccontextmanager
async def reaping(
    prefix: str, folder: Path | None = None, frozen_seconds: float = 0
) -> AsyncIterator[Reaper]:
    """Have a reaper stand by for the time of the block; `folder` is removed as well when the node dies in it.

    `frozen_seconds`: how long this process's event loop may stand still before the process is killed; 0: for ever.
    """
    reaper = Reaper(prefix, folder, frozen_seconds)
    await reaper.start()
    keeping = asyncio.create_task(reaper.keep())
    try:
        yield reaper
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        await reaper.dismiss()
