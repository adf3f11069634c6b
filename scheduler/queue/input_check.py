"""Checks an input against its type's JSON Schema, and says of each fault which field it is about and what would be right."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import jsonschema_rs
import orjson

from runtime.errors import FieldViolation, InvalidInput
from runtime.wording import in_brief
from scheduler.queue.references import Place, Reference, to_pointer

_MAX_VIOLATIONS = 16
_MAX_CHOICES = 64
_COMPOSITE_KEYWORDS = frozenset({"anyOf", "oneOf", "allOf", "not", "if", "contains", "dependentSchemas"})

_REQUIRED = "is required"

Named = Iterator[tuple[Place, str]]

_Kind = jsonschema_rs.ValidationErrorKind


def check_input(
    validator: Any,
    value: dict[str, Any],
    references: Sequence[Reference] = (),
    filled: Collection[str] = (),
) -> None:
    """Check an input; the places of references, and the fields that the workflow fills, are left to the node.

    Raises InvalidInput with pointers below `/input`.
    """
    faults = list(validator.iter_errors(value))
    if not faults:
        return
    places = [reference.place for reference in references]
    violations = []
    for fault in faults:
        at = tuple(fault.instance_path)
        if any(_excused(at, place, fault) for place in places):
            continue
        violations += [
            FieldViolation("/input" + to_pointer(where), detail)
            for where, detail in _named(fault)
            if detail != _REQUIRED or len(where) > 1 or where[0] not in filled
        ]
    if violations:
        first = violations[0]
        raise InvalidInput(f"{first.pointer}: {first.detail}", fields=violations[:_MAX_VIOLATIONS])


def _named(fault: Any) -> Named:
    """Yield the fields that a fault is about: a missing or unknown one is named itself, not the object around it."""
    at = tuple(fault.instance_path)
    match fault.kind:
        case _Kind.Required(property=name):
            yield (*at, name), _REQUIRED
        case _Kind.AdditionalProperties(unexpected=names):
            for name in names:
                yield (*at, name), "is not a field of this task"
        case _Kind.Enum(options=options):
            yield at, f"must be one of: {_choices(options)}"
        case _Kind.Constant(expected_value=expected):
            yield at, f"must be {_text(expected)}"
        case _Kind.AnyOf(context=branches) | _Kind.OneOfNotValid(context=branches):
            yield from _of_branches(at, [list(branch) for branch in branches], fault)
        case _:
            yield at, in_brief(fault.message)


def _of_branches(at: Place, branches: Sequence[Sequence[Any]], fault: Any) -> Named:
    """Yield what is wrong with a value that fits none of several schemas: by the one that it was meant for, where that is plain."""
    missing = [
        fault.kind.property
        for branch in branches
        for fault in branch
        if isinstance(fault.kind, _Kind.Required) and tuple(fault.instance_path) == at
    ]
    if len(missing) == len(branches):
        yield at, f"needs one of the fields: {', '.join(missing)}"
        return
    meant = [
        branch
        for branch in branches
        if not any(isinstance(f.kind, _Kind.Type) and tuple(f.instance_path) == at for f in branch)
    ]
    if len(meant) == 1:
        for inner in meant[0]:
            yield from _named(inner)
        return
    options = [option for branch in meant for inner in branch for option in _options(inner, at)]
    yield at, f"must be one of: {_choices(options)}" if options else in_brief(fault.message)


def _options(fault: Any, at: Place) -> Sequence[Any]:
    if tuple(fault.instance_path) != at:
        return ()
    match fault.kind:
        case _Kind.Enum(options=options):
            found: Sequence[Any] = options
            return found
        case _Kind.Constant(expected_value=expected):
            return (expected,)
    return ()


def _choices(options: Sequence[Any]) -> str:
    listed = ", ".join(_text(option) for option in options[:_MAX_CHOICES])
    return listed if len(options) <= _MAX_CHOICES else f"{listed} and {len(options) - _MAX_CHOICES} more"


def _text(value: Any) -> str:
    return value if isinstance(value, str) and value else orjson.dumps(value).decode()


def _excused(at: Place, place: Place, fault: Any) -> bool:
    """Whether a fault is about a value that a reference stands for, or cannot be told from one."""
    if at == place:
        return True
    if isinstance(fault.kind, _Kind.Required):
        return False  # what is missing is no reference
    if len(at) < len(place) and place[: len(at)] == at:
        keywords = {str(part) for part in fault.schema_path}
        return bool(keywords & _COMPOSITE_KEYWORDS)
    return False
