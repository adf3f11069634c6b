"""A node whose task takes as long as it is told, and notes each start."""

from __future__ import annotations

import asyncio
from pathlib import Path

from pydantic import Field

from nodekit import Node, TaskContext, TaskInput, TaskOutput, serve

node = Node("sleeper", slots=2)


class SleepInput(TaskInput):
    """How long to sleep."""

    seconds: float = Field(ge=0, le=3600)
    """How long it takes."""
    journal: str
    """File that gets a line at each start: what really happened, whatever the system says of it."""


class SleepOutput(TaskOutput):
    """That it is over."""

    slept: float
    """Seconds."""


@node.task("sleeper.sleep")
async def sleep(request: SleepInput, context: TaskContext) -> SleepOutput:
    """Sleeps."""
    with Path(request.journal).open("a") as journal:
        journal.write(f"{context.attempt}\n")
    await context.progress(1, "asleep")
    await asyncio.sleep(request.seconds)
    return SleepOutput(slept=request.seconds)


if __name__ == "__main__":
    serve(node)
