"""Fixtures of the tests of GPU leases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from nodekit.testkit import NodeUnderTest
from tests.nodekit.gpu import toy

NodeFactory = Callable[..., Any]


@pytest.fixture
async def start_gpu_node(tmp_path: Path) -> AsyncIterator[NodeFactory]:
    """Return a function that starts the toy node; without settings it has one device of 8000 MiB of its own."""
    async with AsyncExitStack() as stack:

        async def start(**settings: Any) -> NodeUnderTest:
            settings.setdefault("gpu_mib", (8000,))
            return await stack.enter_async_context(NodeUnderTest(toy.node, tmp_path, **settings))

        yield start


def journal(folder: Path) -> list[str]:
    """Return the lines that the toy's programs have written."""
    path = folder / "journal"
    return path.read_text().splitlines() if path.exists() else []


async def until(condition: Callable[[], bool], task: asyncio.Task[Any] | None = None) -> None:
    """Wait until a condition holds; fails when it does not within 10 s, or when a task ends before."""
    async with asyncio.timeout(10):
        while not condition():
            assert task is None or not task.done(), task.result()
            await asyncio.sleep(0.005)
