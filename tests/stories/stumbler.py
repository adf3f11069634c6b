"""A node whose task falls as often as it is told before it gets up, and runs a program each time."""

from __future__ import annotations

from pydantic import Field

from nodekit import Node, TaskContext, TaskFailed, TaskInput, TaskOutput, serve

node = Node("stumbler", slots=2)


class WalkInput(TaskInput):
    """How the walk goes."""

    falls: int = Field(0, ge=0, le=10)
    """Attempts that fail first, as ones that may be repeated."""
    seconds: float = Field(0.0, ge=0, le=600)
    """How long the program runs."""


class WalkOutput(TaskOutput):
    """That it arrived."""

    attempts: int
    """How many it took."""


@node.task("stumbler.walk")
async def walk(request: WalkInput, context: TaskContext) -> WalkOutput:
    """Walks."""
    await context.progress(1, "walking")
    await context.run(["sleep", str(request.seconds)])
    if context.attempt <= request.falls:
        raise TaskFailed("FELL", "over /home/eve/secret-name", retryable=True)
    return WalkOutput(attempts=context.attempt)


if __name__ == "__main__":
    serve(node)
