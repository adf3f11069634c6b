"""JSON Schemas of task models, the media fields in them, and JSON pointers of what does not fit."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema

from nodekit.media_ref import MediaMark
from runtime.errors import FieldViolation, InvalidInput
from runtime.json_pointer import escaped

_DIALECT = GenerateJsonSchema.schema_dialect  # JSON Schema 2020-12
_MAX_VIOLATIONS = 16


def input_schema(model: type[BaseModel]) -> str:
    """Return an input model's JSON Schema as JSON text."""
    return _to_text(TypeAdapter(model).json_schema(mode="validation"))


def output_schema(model: type[BaseModel]) -> str:
    """Return an output model's JSON Schema as JSON text, with the URL fields that nodekit adds beside media."""
    schema = TypeAdapter(model).json_schema(mode="serialization")
    properties = schema.setdefault("properties", {})
    for pointer in media_fields(model):
        _, field, *deeper = pointer.split("/")
        url = {
            "type": "string",
            "format": "uri-reference",
            "description": f"URL that reads `{field}` for a time.",
        }
        if not deeper:
            properties.setdefault(f"{field}_minio_url", url)
        elif deeper == ["*"]:
            properties.setdefault(f"{field}_minio_urls", {"type": "array", "items": url})
    return _to_text(schema)


def _to_text(schema: dict[str, Any]) -> str:
    """Write with sorted keys, so that equal models give equal text."""
    return orjson.dumps({"$schema": _DIALECT, **schema}, option=orjson.OPT_SORT_KEYS).decode()


def media_fields(model: type[BaseModel]) -> list[str]:
    """Return JSON pointers of the model's media fields; `*` stands for every element of a list or mapping."""
    return list(dict.fromkeys(_media_in_model(model, "", ())))


def _media_in_model(model: type[BaseModel], prefix: str, seen: tuple[type[BaseModel], ...]) -> Iterator[str]:
    if model in seen:
        return
    for name, field in model.model_fields.items():
        yield from _media_in_field(field, f"{prefix}/{field.alias or name}", (*seen, model))


def _media_in_field(field: FieldInfo, pointer: str, seen: tuple[type[BaseModel], ...]) -> Iterator[str]:
    if any(isinstance(mark, MediaMark) for mark in field.metadata):
        yield pointer
    else:
        yield from _media_in_type(field.annotation, pointer, seen)


def _media_in_type(annotation: Any, pointer: str, seen: tuple[type[BaseModel], ...]) -> Iterator[str]:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        if any(isinstance(mark, MediaMark) for mark in arguments[1:]):
            yield pointer
        else:
            yield from _media_in_type(arguments[0], pointer, seen)
    elif origin in (typing.Union, types.UnionType):
        for argument in arguments:
            yield from _media_in_type(argument, pointer, seen)
    elif isinstance(origin, type) and issubclass(origin, Mapping):
        yield from _media_in_type(arguments[-1], f"{pointer}/*", seen)
    elif isinstance(origin, type) and issubclass(origin, Sequence | set | frozenset):
        for argument in arguments:
            if argument is not ...:
                yield from _media_in_type(argument, f"{pointer}/*", seen)
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield from _media_in_model(annotation, pointer, seen)


M = TypeVar("M", bound=BaseModel)


def parse_input(model: type[M], value: Mapping[str, Any]) -> M:
    """Return the typed input. Raises InvalidInput with a JSON pointer into the task's spec per fault (`/input/rate`).

    Parsed as JSON, not as Python: in strict mode only that reads a list into a tuple or a string into an enum.
    """
    try:
        return model.model_validate_json(orjson.dumps(value))
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        fields = [
            FieldViolation("/input" + to_pointer(fault["loc"], value), fault["msg"])
            for fault in faults[:_MAX_VIOLATIONS]
        ]
    summary = "; ".join(f"{field.pointer}: {field.detail}" for field in fields[:4])
    raise InvalidInput(f"the input does not fit: {summary}", fields=fields)


def to_pointer(location: Sequence[str | int], value: Any) -> str:
    """Write where pydantic found a fault as a JSON pointer into the value.

    pydantic's location also names union members and validators; only parts that lead into the value, and the last one when
    it names what is missing, belong into a pointer.
    """
    parts: list[str] = []
    for index, part in enumerate(location):
        if isinstance(value, Mapping) and (part in value or index == len(location) - 1):
            value = value.get(part)
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
        else:
            continue
        parts.append(escaped(part))
    return "".join(f"/{part}" for part in parts)
