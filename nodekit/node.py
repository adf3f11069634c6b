"""Node: the tasks that one service offers, declared by `@node.task`. Knows no server and no running attempt."""

from __future__ import annotations

import hashlib
import inspect
import re
import sys
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from nodekit.context import TaskContext
from nodekit.schema import input_schema, media_fields, output_schema
from nodekit.task_model import TaskInput, TaskOutput
from runtime.errors import UnknownTaskType
from yivideo.task.v1 import task_pb2

TaskFunction = Callable[[Any, TaskContext], Awaitable[TaskOutput]]
F = TypeVar("F", bound=Callable[..., Awaitable[TaskOutput]])

_NODE_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_METHOD_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_MAX_TIMEOUT_SECONDS = 604_800
_MAX_LACKING = 1000
"""Characters."""


@dataclass(frozen=True)
class TaskDefinition:
    """One task type: its function, its models and its limits."""

    name: str
    function: TaskFunction
    input_model: type[TaskInput]
    output_model: type[TaskOutput]
    description: str
    gpu: bool
    timeout_seconds: int
    reuse_field: str
    output_media: frozenset[str]
    """Top-level output fields that hold a MediaRef or a list of them."""
    lacking: Callable[[], str] | None = None
    """Tells what is missing to run it at all; empty: nothing."""
    lacking_unless: tuple[str, ...] = ()
    """Input fields with which it may do without that."""

    def to_proto(self, node: str) -> task_pb2.TaskType:
        """Describe the task type as ListTaskTypes publishes it."""
        return task_pb2.TaskType(
            name=self.name,
            node=node,
            description=self.description,
            input_schema=input_schema(self.input_model),
            output_schema=output_schema(self.output_model),
            gpu=self.gpu,
            timeout_seconds=self.timeout_seconds,
            reuse_field=self.reuse_field,
            media_fields=media_fields(self.input_model),
            lacking=self.lacking()[:_MAX_LACKING] if self.lacking else "",
            lacking_unless=self.lacking_unless,
        )


class Node:
    """A service's name and its tasks.

    `slots` is how many attempts one replica runs at once when its settings do not say; `engines` are the engines it can use
    (`name/version`), or a function that looks them up when the node starts.
    """

    def __init__(
        self, name: str, *, slots: int = 1, engines: Iterable[str] | Callable[[], Iterable[str]] = ()
    ) -> None:
        if not _NODE_NAME.fullmatch(name):
            raise ValueError(f"node name {name!r} is not lower-case letters, digits and _")
        self.name = name
        self.slots = slots
        self._engines = engines
        self._tasks: dict[str, TaskDefinition] = {}

    @property
    def tasks(self) -> tuple[TaskDefinition, ...]:
        """The task types in name order."""
        return tuple(self._tasks[name] for name in sorted(self._tasks))

    def engines(self) -> tuple[str, ...]:
        """Look up the engines, `name/version` each."""
        return tuple(self._engines() if callable(self._engines) else self._engines)

    def task(
        self,
        name: str,
        *,
        gpu: bool = False,
        timeout_seconds: int = 1800,
        reuse_field: str = "",
        lacking: Callable[[], str] | None = None,
        lacking_unless: Iterable[str] = (),
    ) -> Callable[[F], F]:
        """Declare a task: `async def function(request: AnInput, context: TaskContext) -> AnOutput` with a docstring.

        `timeout_seconds` (1 to 604800) bounds an attempt when the client sets no timeout. `reuse_field` names the output field
        that must be non-empty for a result to be reused; empty: the output's first field. `lacking` is asked when the node starts
        and tells what is missing to run the task at all: submits are then refused with it, unless they give one of the input fields
        `lacking_unless`. Raises TypeError or ValueError at once
        when the declaration is not usable.
        """
        self._check(name, timeout_seconds)
        names = sys._getframe(1).f_locals

        def declare(function: F) -> F:
            input_model, output_model = _models(function, names)
            if reuse_field and reuse_field not in output_model.model_fields:
                raise ValueError(f"reuse_field {reuse_field!r} is not a field of {output_model.__name__}")
            self._tasks[name] = TaskDefinition(
                name=name,
                function=function,
                input_model=input_model,
                output_model=output_model,
                description=_description(function),
                gpu=gpu,
                timeout_seconds=timeout_seconds,
                reuse_field=reuse_field or next(iter(output_model.model_fields), ""),
                output_media=frozenset(pointer.split("/")[1] for pointer in media_fields(output_model)),
                lacking=lacking,
                lacking_unless=tuple(lacking_unless),
            )
            return function

        return declare

    def _check(self, name: str, timeout_seconds: int) -> None:
        method = name.removeprefix(f"{self.name}.")
        if method == name or not _METHOD_NAME.fullmatch(method):
            raise ValueError(f"task name {name!r} is not {self.name}.<method>")
        if name in self._tasks:
            raise ValueError(f"task {name!r} is declared twice")
        if not 1 <= timeout_seconds <= _MAX_TIMEOUT_SECONDS:
            raise ValueError(f"timeout_seconds of {name!r} is not 1 to {_MAX_TIMEOUT_SECONDS}")

    def find(self, name: str) -> TaskDefinition:
        """Return a task type. Raises UnknownTaskType."""
        found = self._tasks.get(name)
        if found is None:
            raise UnknownTaskType(f"the node {self.name} has no task {name!r}")
        return found

    def to_protos(self) -> list[task_pb2.TaskType]:
        """Describe all task types, in name order."""
        return [task.to_proto(self.name) for task in self.tasks]

    def etag(self) -> str:
        """Return a tag that changes when a task type does, and is the same on every replica of one version."""
        digest = hashlib.sha256()
        for task_type in self.to_protos():
            digest.update(task_type.SerializeToString(deterministic=True))
        return digest.hexdigest()[:16]


def _models(function: Callable[..., Any], names: dict[str, Any]) -> tuple[type[TaskInput], type[TaskOutput]]:
    where = getattr(function, "__qualname__", repr(function))
    if not inspect.iscoroutinefunction(function):
        raise TypeError(f"{where} is not an async function")
    # Annotations are strings in modules that import annotations; a test may declare its models inside a function.
    signature = inspect.signature(function, eval_str=True, locals=names)
    parameters = list(signature.parameters.values())
    if len(parameters) != 2:
        raise TypeError(f"{where} must take exactly (request, context)")
    request, answer = parameters[0].annotation, signature.return_annotation
    if not (isinstance(request, type) and issubclass(request, TaskInput)):
        raise TypeError(f"{where}: the first parameter must be annotated with a TaskInput")
    if not (isinstance(answer, type) and issubclass(answer, TaskOutput)):
        raise TypeError(f"{where} must be annotated to return a TaskOutput")
    return request, answer


def _description(function: Callable[..., Any]) -> str:
    text = inspect.getdoc(function)
    if not text:
        raise TypeError(f"{function.__qualname__} needs a docstring: it is what clients read about the task")
    return " ".join(text.split("\n\n")[0].split())
