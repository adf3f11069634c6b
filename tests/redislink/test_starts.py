"""What a process does at its start while its Redis is not there, or not as the settings say: real processes, told by their log."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOWHERE = "redis+sentinel://:hidden@127.0.0.1:1/tasks/0"
DEVICES = '[{"name": "gpu0", "memory_mib": 100}]'


class Starting:
    """A process that starts, and the file of what it says."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self.process = process
        self._log = log

    def text(self) -> str:
        return self._log.read_text()

    async def ended(self, seconds: float = 20) -> int:
        return await asyncio.wait_for(self.process.wait(), seconds)

    async def said(self, words: str) -> None:
        async with asyncio.timeout(20):
            while words not in self.text():
                assert self.process.returncode is None, self.text()
                await asyncio.sleep(0.02)


@asynccontextmanager
async def starting(folder: Path, room: str, url: str) -> AsyncIterator[Starting]:
    given = {
        f"YIVIDEO_{room.upper()}__REDIS_URL": url, "YIVIDEO_GPULOCK__DEVICES": DEVICES,
        "YIVIDEO_RUNTIME__LISTEN": "127.0.0.1:0", "YIVIDEO_RUNTIME__METRICS_LISTEN": "",
    }  # fmt: skip
    log = folder / "log.txt"
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", room, cwd=ROOT, stdout=file, stderr=file, env={**os.environ, **given}
        )
    try:
        yield Starting(process, log)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        process._transport.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("room", ["scheduler", "gpulock"])
async def test_a_process_that_waits_for_redis_ends_when_told(tmp_path: Path, room: str) -> None:
    """SIGTERM while Redis is not there: the process ends at once and well."""
    async with starting(tmp_path, room, NOWHERE) as one:
        await one.said("trying again")
        one.process.terminate()
        assert await one.ended(5) == 0, one.text()
    assert "Traceback" not in one.text()
