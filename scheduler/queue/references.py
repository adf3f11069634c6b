"""References from one task's input to the outputs of others, as text: how they are written, found and pointed at.

`${{ tasks.<task id>.output.<field> }}` means one task, `${{ stages.<task name>.output.<field> }}` a task of that name in the same
workflow. `<field>` may lead deeper: `subtitle_files.basic`, `all_audio_files.0`. A reference is a whole string value; a text that
needs `${{` itself writes `$${{`. Which task a reference means is settled at submit, see `scheduler.queue.bindings`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from runtime.errors import BadReference, FieldViolation
from runtime.json_pointer import escaped, unescaped

MARK = "${{"
_ESCAPED = "$${{"
_FORMS = re.compile(
    r"\s*\$\{\{\s*"
    r"(?:tasks\.(?P<task>[A-Za-z0-9_:-][A-Za-z0-9._:-]{0,127}?)|stages\.(?P<stage>[A-Za-z0-9_]+\.[A-Za-z0-9_]+))"
    r"\.output\.(?P<field>[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*)"
    r"\s*\}\}\s*"
)
_MAX_VIOLATIONS = 16
_MAX_REFERENCES = 100

Place = tuple[str | int, ...]
"""Where a value lies in an input: keys and indexes from the outside in."""


@dataclass(frozen=True, slots=True)
class Reference:
    """One reference that stands in an input."""

    place: Place
    kind: Literal["tasks", "stages"]
    name: str
    """Task id, or task name of the stage."""
    path: tuple[str, ...]
    """The field, from the output inwards."""


def to_pointer(place: Place | tuple[str, ...]) -> str:
    """Return a place as an RFC 6901 JSON pointer."""
    return "".join("/" + escaped(part) for part in place)


def from_pointer(pointer: str) -> list[str]:
    """Return the parts of a JSON pointer."""
    return [unescaped(part) for part in pointer.split("/")[1:]]


def find_references(value: Any) -> list[Reference]:
    """Return every reference in plain JSON values.

    Raises BadReference, with pointers below `/input`, for text that means to be one and is none.
    """
    found: list[Reference] = []
    faults: list[FieldViolation] = []
    for place, text in _texts(value, ()):
        if MARK not in text.replace(_ESCAPED, ""):
            continue
        match = _FORMS.fullmatch(text)
        if match is None:
            faults.append(FieldViolation("/input" + to_pointer(place), _why_not(text)))
            continue
        kind: Literal["tasks", "stages"] = "tasks" if match["task"] else "stages"
        found.append(
            Reference(place, kind, match["task"] or match["stage"], tuple(match["field"].split(".")))
        )
    if len(found) > _MAX_REFERENCES:
        faults.append(FieldViolation("/input", f"more than {_MAX_REFERENCES} references"))
    if faults:
        raise BadReference(f"{faults[0].pointer}: {faults[0].detail}", fields=faults[:_MAX_VIOLATIONS])
    return found


def _why_not(text: str) -> str:
    inner = re.fullmatch(r"\s*\$\{\{\s*(?P<inside>[^{}]*?)\s*\}\}\s*", text)
    if inner is None:
        return "a reference must be the whole value, `${{ … }}`; write `$${{` for the characters themselves"
    head = inner["inside"].partition(".")[0]
    if head in ("tasks", "stages"):
        form = "<task id>" if head == "tasks" else "<node>.<method>"
        return f"is not a reference: `${{{{ {head}.{form}.output.<field> }}}}` is its form"
    return f"is not a reference: it must begin with `tasks.` or `stages.`, not {head[:40]!r}"


def _texts(value: Any, at: Place) -> Iterator[tuple[Place, str]]:
    if isinstance(value, str):
        if MARK in value:
            yield at, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _texts(item, (*at, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts(item, (*at, index))


def rewritten(value: Any, name: Callable[[Reference], str]) -> Any:
    """Return a copy of plain JSON values in which each reference is one by id, to the task that `name` gives.

    Where it gives none, empty, the reference stays as it is.
    """
    texts = {}
    for reference in find_references(value):
        if task_id := name(reference):
            field = ".".join(reference.path)
            texts[to_pointer(reference.place)] = f"${{{{ tasks.{task_id}.output.{field} }}}}"
    return replaced(value, lambda pointer: (pointer in texts, texts.get(pointer)), unescape=False)


def replaced(
    value: Any, by: Callable[[str], tuple[bool, Any]], at: Place = (), *, unescape: bool = True
) -> Any:
    """Return a copy of plain JSON values; `by` tells by a text's pointer whether it is replaced, and what by.

    Other texts lose the escape, unless `unescape` is False.
    """
    if isinstance(value, str):
        if MARK not in value:
            return value
        known, new = by(to_pointer(at))
        if known:
            return new
        return value.replace(_ESCAPED, MARK) if unescape else value
    if isinstance(value, dict):
        return {key: replaced(item, by, (*at, key), unescape=unescape) for key, item in value.items()}
    if isinstance(value, list):
        return [replaced(item, by, (*at, index), unescape=unescape) for index, item in enumerate(value)]
    return value
