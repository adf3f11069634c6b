"""The reaper: a process beside the node that ends what the node started when the node itself dies, even by SIGKILL.

Its standard input is a pipe whose other end only the node holds; when that closes, every process with the node's mark is
killed. One is started per replica; it sleeps in one read and knows nothing else of the node.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from runtime.program import Program

_SCRIPT = Path(__file__).with_name("reaper_main.py")


@asynccontextmanager
async def reaping(prefix: str, folder: Path | None = None) -> AsyncIterator[None]:
    """Have a reaper stand by for the time of the block; `folder` is removed as well when the node dies in it."""
    argv = [sys.executable, "-I", "-S", str(_SCRIPT), prefix, str(folder or "")]
    program = await Program.start(argv, stdin=True, stderr=False, environment={})
    try:
        yield
    finally:
        program.close()
        await program.wait()
