"""The reaper: a process beside the node that ends what the node started when the node itself dies, even by SIGKILL, or freezes.

Its standard input is a pipe whose other end only the node holds. When that closes, every process with the node's mark is killed.
The node's event loop writes the time into it; a node that has not for `frozen_seconds` (stopped, swapped out, suspended, its loop
blocked) is killed first. A frozen node cannot notice that the scheduler gave its work to another, but its children go on working,
and it would itself when it thaws: who cannot say in time that it lives must not work (docs/adr/0012).

One is started per replica; it sleeps in one system call and knows nothing else of the node.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from runtime.logs import get_logger
from runtime.program import Program

log = get_logger(__name__)

_SCRIPT = Path(__file__).with_name("reaper_main.py")
_STAMP = struct.Struct("=d")
_STAMPS_A_LIMIT = 10
_LOOK_SECONDS = 1.0


@asynccontextmanager
async def reaping(prefix: str, folder: Path | None = None, frozen_seconds: float = 0) -> AsyncIterator[None]:
    """Have a reaper stand by for the time of the block; `folder` is removed as well when the node dies in it.

    `frozen_seconds`: how long this process's event loop may stand still before the process is killed; 0: for ever.
    """
    reaper = _Reaper(prefix, folder, frozen_seconds)
    await reaper.start()
    keeping = asyncio.create_task(reaper.keep())
    try:
        yield
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        await reaper.dismiss()


class _Reaper:
    """The reaper's process, started again when it dies before the node."""

    def __init__(self, prefix: str, folder: Path | None, frozen_seconds: float) -> None:
        script = [sys.executable, "-I", "-S", str(_SCRIPT)]
        self._argv = [*script, prefix, str(folder or ""), str(frozen_seconds)]
        self._feeds = frozen_seconds > 0
        self._period_seconds = frozen_seconds / _STAMPS_A_LIMIT or _LOOK_SECONDS
        self._program: Program

    async def start(self) -> None:
        """Start the process."""
        self._program = await Program.start(self._argv, stdin=True, stderr=False, environment={})

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
            with contextlib.suppress(RuntimeError):  # uvloop, on a pipe that is closed already
                stdin.write(_STAMP.pack(time.clock_gettime(time.CLOCK_BOOTTIME)))

    async def dismiss(self) -> None:
        """Let it do its work and end."""
        self._program.close()
        await self._program.wait()
