"""Fixtures of nodekit's tests: a node under test, and looking at real processes."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import uvloop

from nodekit.testkit import NodeUnderTest
from tests.nodekit import toy

NodeFactory = Callable[..., Any]

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoopPolicy]] = {
    "asyncio": asyncio.DefaultEventLoopPolicy,
    "uvloop": uvloop.EventLoopPolicy,
}
"""Node processes run on uvloop, authors' tests on asyncio: both start and end children in code of their own."""


@pytest.fixture
async def start_node(tmp_path: Path) -> AsyncIterator[NodeFactory]:
    """Return a function that starts the toy node with settings; all are stopped at the end."""
    async with AsyncExitStack() as stack:

        async def start(**settings: Any) -> NodeUnderTest:
            return await stack.enter_async_context(NodeUnderTest(toy.node, tmp_path, **settings))

        yield start


def is_alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def processes_with(word: str) -> list[int]:
    """Return the living processes whose command line holds a word that only the test uses."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in pids if pid != os.getpid() and word in _command_line(pid) and is_alive(pid)]


def _command_line(pid: int) -> str:
    """Return a process's command line; one that is just becoming another program has none yet and is waited for."""
    deadline = time.monotonic() + 5
    while True:
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            Path(f"/proc/{pid}/exe").readlink()  # the kernel's own threads have neither
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            return ""
        if command or not is_alive(pid):
            return command.decode(errors="replace")
        assert time.monotonic() < deadline, f"process {pid} has no command line"
        time.sleep(0.0005)


async def eventually(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Wait until a condition holds; fails when it does not within the time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        await asyncio.sleep(0.01)
