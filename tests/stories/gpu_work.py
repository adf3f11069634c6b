"""The work of the story's two small nodes: it takes a whole device for a while and says with which, and when."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

from pydantic import Field

from nodekit import Node, TaskContext, TaskInput, TaskOutput


class WorkInput(TaskInput):
    """How long to work."""

    seconds: float = Field(0.2, ge=0, le=60)
    """Seconds."""


class WorkOutput(TaskOutput):
    """What it was done with, and when (CLOCK_MONOTONIC seconds, which all processes of a machine share)."""

    device: str
    """Device."""
    token: int
    """Fencing token."""
    visible: str
    """What a program started on the device saw."""
    pid: int
    """The node's process."""
    begin: float
    """When it began."""
    end: float
    """When it ended."""


async def work(request: WorkInput, context: TaskContext) -> WorkOutput:
    """Works on a whole device."""
    async with context.gpu() as lease:
        begin = time.monotonic()
        seen: list[str] = []
        show = "import os; print(os.environ['CUDA_VISIBLE_DEVICES'])"
        await context.run([Path(sys.executable), "-c", show], on_line=seen.append)
        await context.progress(50, stage="work", message="working")
        await asyncio.sleep(request.seconds)
        return WorkOutput(
            device=lease.devices[0].name, token=lease.token, visible=seen[0], pid=os.getpid(), begin=begin,
            end=time.monotonic(),
        )  # fmt: skip


def make_node(name: str) -> Node:
    """Return a node whose one task, `<name>.work`, is that."""
    node = Node(name)
    node.task(f"{name}.work", gpu=True)(work)
    return node
