"""A node whose work is hard to stop: a shell with ffmpeg and children, one that ignores SIGTERM, native code that never returns."""

from __future__ import annotations

import ctypes

from nodekit import Node, TaskContext, TaskInput, TaskOutput, serve

node = Node("trees", slots=4)


class ShellInput(TaskInput):
    """A shell script."""

    script: str
    """What `sh -c` runs."""


class StuckInput(TaskInput):
    """Nothing to say."""


class Nothing(TaskOutput):
    """No result."""


@node.task("trees.shell")
async def shell(request: ShellInput, context: TaskContext) -> Nothing:
    """Runs a shell script."""
    await context.run(["sh", "-c", request.script])
    return Nothing()


def never_return() -> None:
    """Hold the interpreter lock in native code, as an extension module does that never gives it back."""
    ctypes.PyDLL(None).sleep(3600)


@node.task("trees.stuck")
async def stuck(request: StuckInput, context: TaskContext) -> Nothing:
    """Hangs in native code in a worker process."""
    await context.call(never_return)
    return Nothing()


if __name__ == "__main__":
    serve(node)
