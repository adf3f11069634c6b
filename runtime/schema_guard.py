"""What a node's JSON Schema must be before anybody checks inputs by it: closed in itself, and bounded in what it costs.

A schema comes from a node, and inputs are checked by it in the scheduler's event loop. So it may refer to nothing outside itself
(a reference would be fetched), and what it asks of one place of an input is counted beforehand: `allOf` of two references to the
same, forty times over, is short to write and takes years. Compiles nothing: `scheduler.queue.input_schema` does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from runtime.json_pointer import unescaped

MAX_SCHEMA_BYTES = 256 * 1024
MAX_SCHEMA_DEPTH = 128
MAX_CHECKS = 1000
"""Subschemas that may be asked at one place of an input; a pattern counts as `_PATTERN_CHECKS`."""
_PATTERN_CHECKS = 25
_INPUT_DEPTH = 28
"""Objects and lists inside each other in an input (runtime.structs)."""
_LISTS = ("allOf", "anyOf", "oneOf")
_SINGLE = ("not", "if", "then", "else", "propertyNames")
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
_NAMED = ("properties", "patternProperties", "dependentSchemas", "$defs", "definitions")

Schema = dict[str, Any]


class SchemaRefused(Exception):
    """A schema, or the task type that it belongs to, is not taken; the text says why."""


def read_closed_schema(text: str) -> Schema:
    """Return a schema that is closed and bounded; empty text: one that takes anything. Raises SchemaRefused."""
    if len(text.encode()) > MAX_SCHEMA_BYTES:
        raise SchemaRefused(f"the schema has more than {MAX_SCHEMA_BYTES // 1024} KiB")
    try:
        schema = orjson.loads(text or "{}")
    except ValueError as error:
        raise SchemaRefused(f"the schema is not JSON: {error}") from None
    if not isinstance(schema, dict):
        raise SchemaRefused("the schema is not an object")
    _Document(schema).check()
    return schema


@dataclass
class _Steps:
    """Checks that a subschema causes one step further inside: in an item, in a member of some name, in any other member."""

    item: int = 0
    other: int = 0
    named: dict[str, int] = field(default_factory=dict)

    def add(self, more: _Steps) -> None:
        names = self.named.keys() | more.named.keys()
        self.named = {
            name: self.named.get(name, self.other) + more.named.get(name, more.other) for name in names
        }
        self.item += more.item
        self.other += more.other

    def most(self) -> int:
        return max(self.item, self.other, *self.named.values())


class _Document:
    """One schema, walked once; subschemas are told apart by identity."""

    def __init__(self, root: Schema) -> None:
        self._root = root
        self._anchors: dict[str, Schema] = {}
        self._all = list(self._walk(root))
        self._numbers = {id(schema) for schema in self._all}

    def _walk(self, root: Schema) -> Iterator[Schema]:
        waiting: list[tuple[Any, int]] = [(root, 1)]
        while waiting:
            schema, depth = waiting.pop()
            if not isinstance(schema, dict):
                continue
            if depth > MAX_SCHEMA_DEPTH:
                raise SchemaRefused(f"the schema is nested deeper than {MAX_SCHEMA_DEPTH}")
            for keyword in ("$id", "$schema"):
                if keyword in schema and schema is not root:
                    raise SchemaRefused(
                        f"{keyword} is allowed at the root only: it would change what the rest means"
                    )
            for keyword in ("$anchor", "$dynamicAnchor"):
                if isinstance(name := schema.get(keyword), str):
                    self._anchors[name] = schema
            yield schema
            waiting += [(child, depth + 1) for child in _children(schema)]

    def check(self) -> None:
        """Raise SchemaRefused for what leads outside, for a circle that never goes into the value, and for what costs too much."""
        order = self._in_place_order()
        checks = {id(schema): 0 for schema in order}
        for depth in range(_INPUT_DEPTH + 1):
            deeper, changed = self._checks_at(depth, order, checks)
            if max(deeper.values()) > MAX_CHECKS:
                raise SchemaRefused(
                    f"the schema asks more than {MAX_CHECKS} checks of one place of an input, {depth} levels inside"
                )
            if depth and not changed:
                return
            checks = deeper

    def _checks_at(
        self, depth: int, order: list[Schema], above: dict[int, int]
    ) -> tuple[dict[int, int], bool]:
        """The most checks at any place `depth` levels inside, for each subschema, out of those one level less."""
        if depth == 0:
            own: dict[int, int] = {}
            for schema in order:
                own[id(schema)] = _own_checks(schema) + sum(
                    own[id(child)] for child in self._in_place(schema)
                )
            return own, True
        steps: dict[int, _Steps] = {}
        for schema in order:
            told = _own_steps(schema, above)
            for child in self._in_place(schema):
                told.add(steps[id(child)])
            steps[id(schema)] = told
        found = {number: told.most() for number, told in steps.items()}
        return found, any(found[number] != above[number] for number in found)

    def _in_place(self, schema: Schema) -> list[Schema]:
        """Subschemas that are asked of the same value."""
        found = [schema[keyword] for keyword in _SINGLE if keyword in schema]
        for keyword in _LISTS:
            found += schema[keyword] if isinstance(schema.get(keyword), list) else []
        dependent = schema.get("dependentSchemas")
        found += dependent.values() if isinstance(dependent, dict) else []
        found += [
            self._target(schema[keyword]) for keyword in _REFERENCES if isinstance(schema.get(keyword), str)
        ]
        return [one for one in found if isinstance(one, dict)]

    def _target(self, reference: str) -> Any:
        if not reference.startswith("#"):
            raise SchemaRefused(f"the reference {reference[:200]!r} leads out of the schema")
        fragment = reference[1:]
        if fragment and not fragment.startswith("/"):
            if fragment not in self._anchors:
                raise SchemaRefused(f"the reference {reference[:200]!r} leads nowhere")
            return self._anchors[fragment]
        place: Any = self._root
        for part in fragment.split("/")[1:]:
            key = unescaped(part)
            try:
                place = place[int(key)] if isinstance(place, list) else place[key]
            except (KeyError, IndexError, TypeError, ValueError):
                raise SchemaRefused(f"the reference {reference[:200]!r} leads nowhere") from None
        if isinstance(place, dict) and id(place) not in self._numbers:
            raise SchemaRefused(f"the reference {reference[:200]!r} does not lead to a subschema")
        return place

    def _in_place_order(self) -> list[Schema]:
        """All subschemas, each after those that are asked of the same value because of it."""
        done: dict[int, bool] = {}
        order: list[Schema] = []
        for root in self._all:
            waiting: list[tuple[Schema, Iterator[Schema] | None]] = [(root, None)]
            while waiting:
                schema, rest = waiting.pop()
                if rest is None:
                    if id(schema) in done:
                        continue
                    done[id(schema)] = False
                    rest = iter(self._in_place(schema))
                child = next(rest, None)
                if child is None:
                    done[id(schema)] = True
                    order.append(schema)
                    continue
                waiting.append((schema, rest))
                if done.get(id(child)) is False:
                    raise SchemaRefused("a reference leads back to itself without going into the value")
                waiting.append((child, None))
        return order


def _children(schema: Schema) -> Iterator[Any]:
    """Everything directly below that is a schema itself."""
    for keyword, value in schema.items():
        if keyword in _NAMED and isinstance(value, dict):
            yield from value.values()
        elif keyword in (*_LISTS, "prefixItems") and isinstance(value, list):
            yield from value
        elif keyword in (*_SINGLE, "items", "contains", "additionalProperties", "unevaluatedItems",
                         "unevaluatedProperties", "contentSchema"):  # fmt: skip
            yield value


def _own_checks(schema: Schema) -> int:
    patterns = schema.get("patternProperties")
    return 1 + _PATTERN_CHECKS * (
        ("pattern" in schema) + (len(patterns) if isinstance(patterns, dict) else 0)
    )


def _own_steps(schema: Schema, checks: dict[int, int]) -> _Steps:
    """What a subschema itself asks one step further inside, given what each asks of its own place."""

    def of(value: Any) -> int:
        return checks.get(id(value), 0) if isinstance(value, dict) else 0

    def named(keyword: str) -> dict[str, Any]:
        value = schema.get(keyword)
        return value if isinstance(value, dict) else {}

    listed = schema.get("prefixItems")
    first = max((of(item) for item in listed), default=0) if isinstance(listed, list) else 0
    item = (
        max(first, of(schema.get("items"))) + of(schema.get("contains")) + of(schema.get("unevaluatedItems"))
    )
    patterns = sum(of(value) for value in named("patternProperties").values())
    other = patterns + of(schema.get("additionalProperties")) + of(schema.get("unevaluatedProperties"))
    members = {name: patterns + of(value) for name, value in named("properties").items()}
    return _Steps(item, other, members)
