"""The toy node that the task benchmarks run: a no-op, a task that only waits, and a tree of processes."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from pydantic import Field

from nodekit import Node, TaskContext, TaskInput, TaskOutput, serve

node = Node("toy")

OBEDIENT = 'echo $$ >>"$1"; sh -c \'echo $$ >>"$1"; sleep 600 & echo $! >>"$1"; wait\' sh "$1" & wait'
STUBBORN = 'trap "" TERM; ' + OBEDIENT


class NoopInput(TaskInput):
    """Nothing to do."""


class NoopOutput(TaskOutput):
    """When it was done."""

    started_us: int
    """Unix microseconds at which the task function began."""


@node.task("toy.noop")
async def noop(request: NoopInput, context: TaskContext) -> NoopOutput:
    """Does nothing."""
    return NoopOutput(started_us=time.time_ns() // 1000)


class HoldInput(TaskInput):
    """How long to hold a slot."""

    seconds: float = Field(ge=0, le=600)
    """Time until it ends."""
    journal_path: str = ""
    """File that gets a line `task_id attempt unix_microseconds` when the effect starts; empty: none."""


class HoldOutput(TaskOutput):
    """Nothing."""


@node.task("toy.hold")
async def hold(request: HoldInput, context: TaskContext) -> HoldOutput:
    """Holds a slot for a while."""
    if request.journal_path:
        line = f"{context.task_id} {context.attempt} {time.time_ns() // 1000}\n".encode()
        file = os.open(request.journal_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, line)
        os.close(file)
    await asyncio.sleep(request.seconds)
    return HoldOutput()


class TreeInput(TaskInput):
    """Which tree to grow."""

    pids_path: str
    """File that gets the process id of each of the tree's three processes."""
    stubborn: bool = False
    """Whether it ignores SIGTERM."""


@node.task("toy.tree")
async def tree(request: TreeInput, context: TaskContext) -> HoldOutput:
    """Runs a shell that runs a shell that runs a program."""
    script = STUBBORN if request.stubborn else OBEDIENT
    await context.run(["sh", "-c", script, "sh", str(Path(request.pids_path))])
    return HoldOutput()


if __name__ == "__main__":
    serve(node)
