"""A node written as any author would; each task does its work in one of the ways that nodekit offers, and journals it.

`python -m bench.chaos.smithy`; the variable CHAOS_NODE says which of the two nodes of the story it is.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time

from pydantic import Field

from bench.chaos import journal
from bench.chaos.faults import SLOTS
from nodekit import MediaRef, Node, TaskContext, TaskFailed, TaskInput, TaskOutput, serve

node = Node(os.environ.get("CHAOS_NODE", "forge"), slots=SLOTS)


class Work(TaskInput):
    """How long to work, and how it shall end."""

    journal: str
    """The file to write into."""
    seconds: float = Field(ge=0, le=60)
    """How long it takes."""
    failures: int = Field(0, ge=0)
    """Attempts that fail before one succeeds."""
    store: bool = False
    """Whether the run's name is also stored as a file."""


class Done(TaskOutput):
    """What has been done."""

    run: str
    """Which run of the effect this is the result of."""
    path: MediaRef | None = None
    """The stored file."""


async def _done(request: Work, context: TaskContext, run: str) -> Done:
    if context.attempt <= request.failures:
        raise TaskFailed("UNLUCKY", "this attempt was told to fail", retryable=True)
    if not request.store:
        return Done(run=run)
    file = context.output_path("run.txt")
    file.write_text(run)
    return Done(run=run, path=await context.store(file))


@node.task(f"{node.name}.hammer")
async def hammer(request: Work, context: TaskContext) -> Done:
    """Works in the node's own process."""
    with journal.effect(request.journal, context.task_id, context.attempt) as run:
        began = time.monotonic()
        while (spent := time.monotonic() - began) < request.seconds:
            await context.progress(100 * spent / request.seconds, "hammering")
            await asyncio.sleep(journal.BEAT_SECONDS)
            run.write("beat")
    return await _done(request, context, run.name)


@node.task(f"{node.name}.cast")
async def cast(request: Work, context: TaskContext) -> Done:
    """Works in a warm worker process."""
    run = await context.call(journal.work, request.journal, context.task_id, context.attempt, request.seconds)
    return await _done(request, context, run)


@node.task(f"{node.name}.chain")
async def chain(request: Work, context: TaskContext) -> Done:
    """Works in a grandchild, beside another that would never end by itself."""
    program = [sys.executable, "-I", "-S", journal.__file__, request.journal, context.task_id]
    lines: list[str] = []
    completed = await context.run(
        ["sh", "-c", 'sleep 3600 & "$@"', "sh", *program, str(context.attempt), str(request.seconds)],
        on_line=lines.append,
    )
    if completed.returncode != 0 or len(lines) != 1:
        raise TaskFailed("CHAIN_BROKEN", f"the chain ended with {completed.returncode}", retryable=True)
    return await _done(request, context, lines[0])


if __name__ == "__main__":
    serve(node)
