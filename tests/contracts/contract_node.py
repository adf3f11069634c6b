"""A small real node for the contract tests: it says things."""

from __future__ import annotations

from nodekit import Node, TaskContext, TaskFailed, TaskInput, TaskOutput

node = Node("contract")


class SayInput(TaskInput):
    """What to say, and how it goes."""

    text: str
    """What to say."""
    times: int = 1
    """How often."""
    fail: bool = False
    """Whether it goes wrong."""
    wait_seconds: float = 0
    """How long a child process sleeps first."""


class SayOutput(TaskOutput):
    """What was said."""

    said: list[str]
    """Each time."""


@node.task("contract.say")
async def say(request: SayInput, context: TaskContext) -> SayOutput:
    """Says a text."""
    if request.wait_seconds:
        await context.run(["sleep", str(request.wait_seconds)])
    if request.fail:
        raise TaskFailed("HOARSE", "cannot speak", retryable=True)
    await context.progress(50, "speak", request.text)
    return SayOutput(said=[request.text] * request.times)
