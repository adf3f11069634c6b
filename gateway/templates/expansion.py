"""From a template and a client's parameters to the tasks of a workflow."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import jsonschema_rs

from gateway.templates.catalogue import Template
from runtime.errors import FieldViolation, InvalidArgument
from runtime.wording import in_brief

_PARAMETER = re.compile(r"\$\{\{ parameters\.(?P<name>[a-z][a-z0-9_]*) \}\}")
_TASK = re.compile(r"\$\{\{ tasks\.(?P<key>[a-z][a-z0-9_]*)\.output\.[a-z0-9_.]+ \}\}")
_MARK = "${{"
_NO_NAME = re.compile(r"[/\\\x00-\x1f\x7f]")
_MOST_CHARACTERS = 200

_LEFT_OUT = object()


@dataclass
class Expanded:
    """A template's tasks for some parameters."""

    tasks: list[dict[str, Any]] = field(default_factory=list)
    """`{key, task_name, input_data}` of each that is there."""
    origins: dict[str, str] = field(default_factory=dict)
    """The parameter that gave a value, by the pointer to the value: `/tasks/0/input_data/video_path`."""

    def in_parameter_terms(self, error: InvalidArgument) -> InvalidArgument:
        """Return the refusal of a task with pointers to the parameters that were at fault, where they were."""
        message, fields = error.message, []
        for one in error.fields:
            place = max((at for at in self.origins if _is_at(at, one.pointer)), key=len, default="")
            pointer = one.pointer
            if place:
                pointer = f"/parameters/{self.origins[place]}{one.pointer.removeprefix(place)}"
                message = message.replace(f"{one.pointer}:", f"{pointer}:", 1)
            fields.append(FieldViolation(pointer, one.detail))
        return type(error)(message, fields=fields)


def _is_at(place: str, pointer: str) -> bool:
    return pointer == place or pointer.startswith(place + "/")


def checked_parameters(template: Template, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters with their defaults. Raises InvalidArgument with pointers below `/parameters`."""
    violations = []
    for fault in template.validator.iter_errors(dict(given)):
        at = "".join(f"/{in_brief(str(part))}" for part in fault.instance_path)
        match fault.kind:
            case jsonschema_rs.ValidationErrorKind.Required(property=name):
                violations.append(FieldViolation(f"/parameters/{name}", "is required"))
            case jsonschema_rs.ValidationErrorKind.AdditionalProperties(unexpected=names):
                known = ", ".join(template.content.parameters)
                violations += [
                    FieldViolation(
                        f"/parameters/{in_brief(name)}",
                        f"is not a parameter of this template; it has {known}",
                    )
                    for name in names
                ]
            case _:
                violations.append(FieldViolation(f"/parameters{at}", in_brief(fault.message)))
    if violations:
        raise InvalidArgument(f"{violations[0].pointer}: {violations[0].detail}", fields=violations[:16])
    defaults = {
        name: schema["default"] for name, schema in template.content.parameters.items() if "default" in schema
    }
    return defaults | dict(given)


def expand(template: Template, given: Mapping[str, Any]) -> Expanded:
    """Return the template's tasks for a client's parameters. Raises InvalidArgument."""
    parameters = checked_parameters(template, given)
    made = Expanded()
    there: set[str] = set()
    for task in template.content.tasks:
        if task.when and not parameters.get(task.when):
            continue
        there.add(task.key)
        filled = _filled(task.input, parameters, there, f"/tasks/{len(made.tasks)}/input_data", made.origins)
        made.tasks.append({"key": task.key, "task_name": task.task, "input_data": filled})
    return made


def _filled(
    value: Any, parameters: Mapping[str, Any], there: set[str], at: str, origins: dict[str, str]
) -> Any:
    """Return a value of a template's input with its parameters in place, _LEFT_OUT for one that has none."""
    if isinstance(value, str):
        if found := _PARAMETER.fullmatch(value):
            name = found["name"]
            if parameters.get(name) is None:
                return _LEFT_OUT
            origins[at] = name
            given = parameters[name]
            # What a client writes is text, whatever it looks like.
            return given.replace(_MARK, "$" + _MARK) if isinstance(given, str) else given
        if found := _TASK.fullmatch(value):
            return value if found["key"] in there else _LEFT_OUT
        return value
    if isinstance(value, dict):
        if set(value) == {"first"}:
            choices = [_filled(one, parameters, there, at, origins) for one in value["first"]]
            return next((one for one in choices if one is not _LEFT_OUT), _LEFT_OUT)
        if set(value) == {"stem"}:
            named = _filled(value["stem"], parameters, there, at, origins)
            return (_stem(named) if isinstance(named, str) else "") or _LEFT_OUT
        inner = {
            name: _filled(one, parameters, there, f"{at}/{name}", origins) for name, one in value.items()
        }
        return {name: one for name, one in inner.items() if one is not _LEFT_OUT}
    if isinstance(value, list):
        items = [_filled(one, parameters, there, f"{at}/{n}", origins) for n, one in enumerate(value)]
        return [one for one in items if one is not _LEFT_OUT]
    return value


def _stem(reference: str) -> str:
    """Return what a file is called without folder and extension; empty for what has no name."""
    parts = urlsplit(reference) if "://" in reference else None
    if reference.startswith("data:"):
        return ""
    name = PurePosixPath(unquote(parts.path) if parts else reference).stem
    return _NO_NAME.sub("_", name)[:_MOST_CHARACTERS]
