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


@asynccontextmanager
async def reaping(prefix: str, folder: Path | None = None, frozen_seconds: float = 0) -> AsyncIterator[None]:
    """Have a reaper stand by for the time of the block; `folder` is removed as well when the node dies in it.

    `frozen_seconds`: how long this process's event loop may stand still before the process is killed; 0: for ever.
    """
    argv = [sys.executable, "-I", "-S", str(_SCRIPT), prefix, str(folder or ""), str(frozen_seconds)]
    program = await Program.start(argv, stdin=True, stderr=False, environment={})
    feeding = asyncio.create_task(_feed(program, frozen_seconds / _STAMPS_A_LIMIT))
    try:
        yield
    finally:
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)
        program.close()
        await program.wait()


async def _feed(program: Program, period_seconds: float) -> None:
    """Tell the reaper the time, for ever."""
    assert program.stdin is not None
    while period_seconds > 0:
        if program.returncode is not None:
            log.error("the reaper is gone: what this node starts may outlive it")
            return
        # A reaper that does not read (it is frozen itself) finds the times that fit into the pipe when it does again.
        if not program.stdin.transport.get_write_buffer_size():
            with contextlib.suppress(RuntimeError):  # uvloop, on a pipe that is closed already
                program.stdin.write(_STAMP.pack(time.clock_gettime(time.CLOCK_BOOTTIME)))
        await asyncio.sleep(period_seconds)
