"""Puts the JSON Schemas that nodes publish into the OpenAPI description: one submission and one output per task type."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from yivideo.task.v1 import task_pb2

_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9._-]")
_REF = "#/components/schemas/"


class TaskSchemas:
    """The components that a set of task types adds."""

    def __init__(self, task_types: Sequence[task_pb2.TaskType], models: dict[str, Any]) -> None:
        self.components: dict[str, Any] = {}
        self.submission: dict[str, Any] | None = None
        """Schema of a submission of any of them, told apart by `task_name`; None without task types."""
        self.examples: dict[str, Any] = {}
        """Example objects of OpenAPI by name, each a whole submission."""
        if not task_types:
            return
        self.examples.update(_examples(task_types))
        mapping: dict[str, str] = {}
        outputs: list[dict[str, Any]] = []
        for kind in task_types:
            given = self._add(f"{kind.name}.input", kind.input_schema)
            outputs.append({"$ref": self._add(f"{kind.name}.output", kind.output_schema)})
            name = _component_name(f"{kind.name}.submit")
            self.components[name] = _submission(models["SubmitTask"], kind, given)
            mapping[kind.name] = _REF + name
        self.submission = {
            "oneOf": [{"$ref": ref} for ref in mapping.values()],
            "discriminator": {"propertyName": "task_name", "mapping": mapping},
        }
        result = copy.deepcopy(models["TaskResult"])
        result["properties"]["output"]["anyOf"] = [*outputs, {"type": "null"}]
        self.components["TaskResult"] = result

    def _keep(self, name: str, schema: Any, title: str) -> None:
        """Keep a component under a title that no other has: generators of clients name classes by it."""
        if isinstance(schema, dict):
            schema["title"] = title
        self.components[name] = schema

    def _add(self, name: str, text: str) -> str:
        """Add a published schema, its `$defs` beside it, and return the reference to it."""
        name = _component_name(name)
        schema = orjson.loads(text or "{}")
        if not isinstance(schema, dict):
            schema = {}
        definitions = schema.pop("$defs", {})
        schema.pop("$schema", None)
        self._keep(name, _moved(schema, name), _title(name))
        for inner, definition in definitions.items():
            # The other way round, because generators name the class of a field `speaker_statistics` by parent and field.
            self._keep(
                _component_name(f"{name}.{inner}"),
                _moved(definition, name),
                f"{_title(inner)}Of{_title(name)}",
            )
        return _REF + name


def _title(name: str) -> str:
    return "".join(word[:1].upper() + word[1:] for word in re.split(r"[^A-Za-z0-9]", name))


def _component_name(name: str) -> str:
    return _NOT_IN_A_NAME.sub("_", name)


def _moved(value: Any, name: str) -> Any:
    """Return a schema whose references to its own `$defs` point to where they are now."""
    if isinstance(value, list):
        return [_moved(item, name) for item in value]
    if not isinstance(value, dict):
        return value
    moved = {key: _moved(item, name) for key, item in value.items()}
    target = moved.get("$ref")
    if isinstance(target, str) and target.startswith("#/$defs/"):
        moved["$ref"] = _REF + _component_name(f"{name}.{target.removeprefix('#/$defs/')}")
    elif target == "#":
        moved["$ref"] = _REF + name
    return moved


def _submission(model: dict[str, Any], kind: task_pb2.TaskType, given: str) -> dict[str, Any]:
    made = copy.deepcopy(model)
    made["title"] = _title(f"{kind.name}.submit")
    made["description"] = kind.description
    made["properties"]["task_name"] = {"const": kind.name, "description": "Task type."}
    made["properties"]["input_data"] = {"$ref": given}
    return made


def _examples(task_types: Sequence[task_pb2.TaskType]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give the examples that the nodes publish for their inputs, as submissions: `/docs` offers them by name."""
    for kind in task_types:
        schema = orjson.loads(kind.input_schema or "{}")
        published = schema.get("examples") if isinstance(schema, dict) else None
        for number, given in enumerate(published if isinstance(published, list) else [], 1):
            name = kind.name if number == 1 else f"{kind.name} ({number})"
            yield name, {"summary": name, "value": {"task_name": kind.name, "input_data": given}}
