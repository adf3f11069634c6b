"""What is wrong with given settings, in words that lead to the place: the name, its variable or file and line, what was meant.

No value is ever quoted: it may be a secret.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from runtime.section_names import (
    DELIMITER,
    PREFIX,
    SECTIONS,
    SECTIONS_VARIABLE,
    is_setting,
    variable_name,
)
from runtime.settings_outline import field_at, is_json, nearest

Place = Sequence[str | int]


class Given:
    """What an operator has given: an environment, and a YAML file or none."""

    def __init__(self, environment: Mapping[str, str], path: Path | None, text: str = "") -> None:
        self._variables = {name.upper(): value for name, value in environment.items()}
        self._path = path
        self._root = yaml.compose(text, Loader=yaml.SafeLoader) if text else None

    def variables(self) -> Iterator[tuple[tuple[str, ...], str, str]]:
        """Yield the path, the name and the value of each variable that claims to be a setting."""
        for name in sorted(filter(is_setting, self._variables)):
            path = tuple(name.removeprefix(PREFIX).lower().split(DELIMITER))
            yield path, name, self._variables[name]

    def sections(self) -> Iterator[tuple[str, str]]:
        """Yield each section that is given, with where it is."""
        for path, name, _ in self.variables():
            yield path[0], name
        if isinstance(self._root, yaml.MappingNode):
            for key, _ in self._root.value:
                yield str(key.value), self._in_file(key)

    def extra_sections(self) -> frozenset[str]:
        """Return the sections that the operator's own nodes read."""
        return frozenset(self._variables.get(SECTIONS_VARIABLE, "").replace(",", " ").lower().split())

    def where(self, place: Place) -> str:
        """Say where a value stands: the variable, with a position inside its JSON, or file and line; empty: nowhere (a default)."""
        for length in range(len(place), 0, -1):
            head = place[:length]
            if all(isinstance(step, str) for step in head):
                variable = variable_name(*(str(step) for step in head))
                if variable in self._variables:
                    rest = "".join(f"/{step}" for step in place[length:])
                    return f"{variable} at {rest}" if rest else variable
        return self._line_of(place)

    def has(self, place: Place) -> str:
        """Say where a setting was given, exactly this or a value inside it; empty: it was not."""
        exact = variable_name(*(str(step) for step in place))
        for name in self._variables:
            if name == exact or name.startswith(exact + DELIMITER):
                return name
        for length in range(1, len(place)):
            name = variable_name(*(str(step) for step in place[:length]))
            value = _json_or_none(self._variables.get(name, ""))
            for step in place[length:]:
                value = value.get(step) if isinstance(value, dict) else None
            if value is not None:
                return f"{name} at {''.join(f'/{step}' for step in place[length:])}"
        node = self._node_at(place)
        return self._in_file(node) if node is not None else ""

    def _line_of(self, place: Place) -> str:
        for length in range(len(place), 0, -1):
            if (node := self._node_at(place[:length])) is not None:
                return self._in_file(node)
        return ""

    def _node_at(self, place: Place) -> yaml.Node | None:
        node, key = self._root, None
        for step in place:
            found = None
            if isinstance(node, yaml.MappingNode):
                found = next(((k, v) for k, v in node.value if k.value == str(step)), None)
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
                found = (node.value[step], node.value[step])
            if found is None:
                return None
            key, node = found
        return key

    def _in_file(self, node: yaml.Node) -> str:
        return f"{self._path} line {node.start_mark.line + 1}"


def _json_or_none(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def unknown_sections(kind: type[BaseModel], given: Given) -> list[str]:
    """Return a line for each section that no process reads."""
    known = SECTIONS | set(kind.model_fields) | given.extra_sections()
    lines = []
    for section, where in given.sections():
        if section in known or section.startswith("x-"):  # as in compose files: a place for anchors
            continue
        like = difflib.get_close_matches(section, known, 1, 0.6)
        meant = f"; did you mean {like[0]} ({variable_name(like[0])}{DELIMITER}…)?" if like else ""
        own = "" if like else f"; a section that a node of yours reads is named in {SECTIONS_VARIABLE}"
        lines.append(f"{section}: no process has such a section{meant}{own} [{where}]")
    return lines


def broken_json(kind: type[BaseModel], given: Given) -> list[str]:
    """Return a line for each variable that should be JSON and cannot be read, with the position."""
    lines = []
    for path, name, text in given.variables():
        field = field_at(kind, path)
        if field is None or not text or not is_json(field.annotation):
            continue
        try:
            json.loads(text)
        except ValueError as error:
            where = ""
            if isinstance(error, json.JSONDecodeError):
                where = f" at line {error.lineno}, column {error.colno}: {error.msg}"
            lines.append(f"{'.'.join(path)}: is not JSON{where} [{name}]")
    return lines


def told(kind: type[BaseModel], error: ValidationError, given: Given) -> list[str]:
    """Return a line for each fault that validation found."""
    lines = []
    for fault in error.errors(include_input=False, include_url=False):
        place = fault["loc"]
        text = fault["msg"]
        if fault["type"] == "extra_forbidden":
            like = nearest(kind, place)
            text = "there is no such setting" + (f"; did you mean {like}?" if like else "")
        where = given.where(place)
        lines.append(f"{'.'.join(str(part) for part in place)}: {text}" + (f" [{where}]" if where else ""))
    return lines
