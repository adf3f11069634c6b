"""References from one task's input to the outputs of its workflow: `${{ stages.<task name>.output.<field> }}`.

A reference is a whole string value. At admission its place is not checked against the schema, because the value is not known;
when the task is claimed it is replaced, and the node checks the whole input again.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

REFERENCE = re.compile(
    r"\s*\$\{\{\s*stages\.(?P<stage>[A-Za-z0-9_]+\.[A-Za-z0-9_]+)\.output\.(?P<field>[A-Za-z0-9_]+)\s*\}\}\s*"
)

Pointer = tuple[str | int, ...]


class ReferenceUnresolved(Exception):
    """A reference names an output that the workflow does not have; `pointer` says where the reference stands."""

    def __init__(self, stage: str, field: str, pointer: Pointer) -> None:
        super().__init__(f"cannot resolve reference: stage '{stage}' has no output field '{field}'")
        self.pointer = pointer


def find_references(value: Any, at: Pointer = ()) -> Iterator[tuple[Pointer, str, str]]:
    """Yield (place, task name, output field) of every reference in plain JSON values."""
    if isinstance(value, str):
        if match := REFERENCE.fullmatch(value):
            yield at, match["stage"], match["field"]
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from find_references(item, (*at, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from find_references(item, (*at, index))


def to_pointer(place: Pointer) -> str:
    """Return a place as an RFC 6901 JSON pointer."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in place)


async def resolve(
    value: Any, output_of: Callable[[str], Awaitable[Mapping[str, Any] | None]], at: Pointer = ()
) -> Any:
    """Return a copy of `value` with every reference replaced; `output_of` gives a stage's output, None when it has none.

    Raises ReferenceUnresolved.
    """
    if isinstance(value, str):
        match = REFERENCE.fullmatch(value)
        if not match:
            return value
        output = await output_of(match["stage"])
        if output is None or match["field"] not in output:
            raise ReferenceUnresolved(match["stage"], match["field"], at)
        return output[match["field"]]
    if isinstance(value, dict):
        return {key: await resolve(item, output_of, (*at, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [await resolve(item, output_of, (*at, index)) for index, item in enumerate(value)]
    return value
