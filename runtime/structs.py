"""google.protobuf.Struct to and from plain dicts, without JSON text in between.

Struct knows only doubles. Going out, an int past ±2^53 would silently change, so it is refused; coming back, a double with an
integral value within ±2^53 becomes an int again, because that is what the client wrote (`16000`, not `16000.0`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf import struct_pb2

from runtime.errors import InvalidArgument

MAX_SAFE_INTEGER = 2**53


def to_struct(value: Mapping[str, Any]) -> struct_pb2.Struct:
    """Return a Struct. Raises InvalidArgument for NaN, infinities, ints past ±2^53 and types JSON does not know."""
    struct = struct_pb2.Struct()
    for key, item in value.items():
        _fill(struct.fields[str(key)], item, f"/{key}")
    return struct


def _fill(target: struct_pb2.Value, value: Any, pointer: str) -> None:
    match value:
        case None:
            target.null_value = struct_pb2.NULL_VALUE
        case bool():
            target.bool_value = value
        case int() | float():
            target.number_value = _number(value, pointer)
        case str():
            target.string_value = value
        case Mapping():
            target.struct_value.SetInParent()
            for key, item in value.items():
                _fill(target.struct_value.fields[str(key)], item, f"{pointer}/{key}")
        case Sequence() if not isinstance(value, bytes | bytearray):
            target.list_value.SetInParent()
            for index, item in enumerate(value):
                _fill(target.list_value.values.add(), item, f"{pointer}/{index}")
        case _:
            raise InvalidArgument.at(pointer, f"{type(value).__name__} is not a JSON type")


def _number(value: float, pointer: str) -> float:
    if isinstance(value, int) and abs(value) > MAX_SAFE_INTEGER:
        raise InvalidArgument.at(pointer, "integers past ±2^53 lose digits; send a string")
    if value != value or value in (float("inf"), float("-inf")):
        raise InvalidArgument.at(pointer, "NaN and infinities are not JSON numbers")
    return float(value)


def from_struct(struct: struct_pb2.Struct) -> dict[str, Any]:
    """Return a dict of plain values."""
    return {key: _plain(value) for key, value in struct.fields.items()}


def _plain(value: struct_pb2.Value) -> Any:
    match value.WhichOneof("kind"):
        case "number_value":
            number = value.number_value
            return int(number) if number.is_integer() and abs(number) <= MAX_SAFE_INTEGER else number
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case "struct_value":
            return from_struct(value.struct_value)
        case "list_value":
            return [_plain(item) for item in value.list_value.values]
        case _:
            return None
