"""The work of the story's two nodes whose packages exclude each other: it says which version its worker found, by its interface."""

from __future__ import annotations

import importlib
import sys

from nodekit import Node, TaskContext, TaskInput, TaskOutput


class AskInput(TaskInput):
    """Nothing to say."""


class AskOutput(TaskOutput):
    """What the worker ran on."""

    answer: str
    """What the package's function of that version returned."""
    interpreter: str
    """The Python of the worker."""


def ask(function: str) -> tuple[str, str]:
    """Call a function of the package `clashing`, which only one of its versions has."""
    package = importlib.import_module("clashing")
    return str(getattr(package, function)()), sys.executable


def make_node(name: str, function: str) -> Node:
    """Return a node whose one task, `<name>.ask`, calls that function in a worker."""
    node = Node(name)

    @node.task(f"{name}.ask")
    async def ask_package(request: AskInput, context: TaskContext) -> AskOutput:
        """Asks the package which version it is."""
        answer, interpreter = await context.call(ask, function)
        return AskOutput(answer=answer, interpreter=interpreter)

    return node
