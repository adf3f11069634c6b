"""What a schema says against an input before anything is sent: an upload of gigabytes for a value out of range helps nobody.

Only what is plain is looked at. The server has the last word, and what is not understood here, or is no plain value yet (a local
file, a reference to another task's output), counts as good: nothing that the server would take may be refused.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from yivideo_client.cli.fields import resolved
from yivideo_client.models import Json

Fault = tuple[str, str]
"""The field (`tracks.0.language`), and what is wrong with it."""

_KINDS: Mapping[str, type | tuple[type, ...]] = {
    "string": str, "array": list, "object": dict, "boolean": bool, "number": (int, float), "integer": (int, float),
    "null": type(None),
}  # fmt: skip
_REFERENCE = "${{"


def faults(task_input: Json, schema: Json, *, filled: bool = False) -> list[Fault]:
    """Return what is wrong with an input. `filled`: what it leaves out may come from elsewhere."""
    found = list(_faults(task_input, schema, schema, ()))
    return [fault for fault in found if not (filled and fault[1] == _REQUIRED and "." not in fault[0])]


_REQUIRED = "is required"


def _faults(value: Any, schema: Any, root: Json, at: tuple[str, ...]) -> Iterator[Fault]:
    if not isinstance(schema, dict) or (isinstance(value, str) and _REFERENCE in value):
        return
    if isinstance(schema.get("anyOf") or schema.get("oneOf"), list):
        branches = [
            list(_faults(value, one, root, at)) for one in schema.get("anyOf") or schema.get("oneOf") or ()
        ]
        if all(branches):
            yield from _of_branches(branches, at)
        return
    schema = resolved(schema, root)
    name = ".".join(at)
    if isinstance(value, Path):
        if "string" not in _types(schema, ("string",)):
            yield name, f"takes no file: {' or '.join(_types(schema, ()))} is wanted"
        return
    types = _types(schema, ())
    if types and not any(_is_a(value, kind) for kind in types):
        yield name, f"{_shown(value)} is no {' or '.join(types)}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield name, f"must be one of: {', '.join(map(str, schema['enum']))}"
    if "const" in schema and value != schema["const"]:
        yield name, f"must be {schema['const']}"
    if isinstance(value, bool):
        return
    if isinstance(value, int | float):
        yield from ((name, said) for said in _of_number(value, schema))
    elif isinstance(value, str):
        yield from ((name, said) for said in _of_text(value, schema))
    elif isinstance(value, list):
        yield from _of_list(value, schema, root, at)
    elif isinstance(value, dict):
        yield from _of_object(value, schema, root, at)


def _of_branches(branches: list[list[Fault]], at: tuple[str, ...]) -> Iterator[Fault]:
    """Yield the faults of the branch that was meant, where all others are of another type; else that none of them fits."""
    name = ".".join(at)
    meant = [branch for branch in branches if not any(f[0] == name and " is no " in f[1] for f in branch)]
    if len(meant) == 1:
        yield from meant[0]
    elif not meant:
        yield branches[0][0]
    else:
        own = [
            said.removeprefix("must be one of: ").removeprefix("must be ")
            for branch in meant
            for where, said in branch
        ]
        yield name, f"must be one of: {', '.join(own)}"  # fmt: skip


def _types(schema: Json, default: tuple[str, ...]) -> tuple[str, ...]:
    given = schema.get("type")
    found = tuple(given) if isinstance(given, list) else (given,) if isinstance(given, str) else default
    return found if all(one in _KINDS for one in found) else default


def _is_a(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _KINDS[kind])


def _of_number(value: float, schema: Json) -> Iterator[str]:
    for keyword, is_bad, word in (
        ("minimum", operator.lt, "less than the minimum of"),
        ("maximum", operator.gt, "greater than the maximum of"),
        ("exclusiveMinimum", operator.le, "not greater than"),
        ("exclusiveMaximum", operator.ge, "not less than"),
    ):
        limit = schema.get(keyword)
        if isinstance(limit, int | float) and is_bad(value, limit):
            yield f"{value} is {word} {limit}"


def _of_text(value: str, schema: Json) -> Iterator[str]:
    if len(value) < schema.get("minLength", 0):
        yield f"{_shown(value)} is shorter than {schema['minLength']} characters"
    if len(value) > schema.get("maxLength", len(value)):
        yield f"is longer than {schema['maxLength']} characters"
    try:
        if "pattern" in schema and not re.search(schema["pattern"], value):
            yield f"{_shown(value)} does not match {schema['pattern']}"
    except re.error:
        pass  # of another dialect


def _of_list(value: list[Any], schema: Json, root: Json, at: tuple[str, ...]) -> Iterator[Fault]:
    if len(value) < schema.get("minItems", 0):
        yield ".".join(at), f"has fewer than {schema['minItems']} items"
    if len(value) > schema.get("maxItems", len(value)):
        yield ".".join(at), f"has more than {schema['maxItems']} items"
    if "prefixItems" not in schema:
        for index, one in enumerate(value):
            yield from _faults(one, schema.get("items"), root, (*at, str(index)))


def _of_object(value: Json, schema: Json, root: Json, at: tuple[str, ...]) -> Iterator[Fault]:
    properties = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            yield ".".join((*at, name)), _REQUIRED
    for name, one in value.items():
        if name in properties:
            yield from _faults(one, properties[name], root, (*at, name))
        elif schema.get("additionalProperties") is False and "patternProperties" not in schema:
            yield ".".join((*at, name)), "is not a field of it"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
