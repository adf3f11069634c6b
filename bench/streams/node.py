"""A node whose tasks only talk: `python -m bench.streams.node`."""

from __future__ import annotations

import asyncio

from pydantic import Field

from nodekit import Node, TaskContext, TaskInput, TaskOutput, serve

node = Node("talker", slots=64)


class TalkInput(TaskInput):
    """How much to say."""

    lines: int = Field(ge=0, le=100_000)
    """Lines to say."""
    gap_seconds: float = Field(0.1, ge=0, le=60)
    """Wait after each."""
    size: int = Field(20, ge=1, le=1900)
    """Characters a line."""


class TalkOutput(TaskOutput):
    """How much was said."""

    lines: int
    """Lines that were said."""


@node.task("talker.talk")
async def talk(request: TalkInput, context: TaskContext) -> TalkOutput:
    """Says numbered lines, and how far it is."""
    for number in range(request.lines):
        await context.log(f"{number} ".ljust(request.size, "."))
        await asyncio.sleep(request.gap_seconds)
    return TalkOutput(lines=request.lines)


if __name__ == "__main__":
    serve(node)
