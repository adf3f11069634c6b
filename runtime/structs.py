"""google.protobuf.Struct to and from plain dicts, without JSON text in between.

Struct knows only doubles. Going out, an int past ±2^53 would silently change, so it is refused; coming back, a double with an
integral value within ±2^53 becomes an int again, because that is what the client wrote (`16000`, not `16000.0`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf import struct_pb2

from runtime.errors import InvalidArgument
from runtime.json_pointer import escaped

MAX_SAFE_INTEGER = 2**53

MAX_DEPTH = 28
"""Objects and lists inside each other. Each costs three levels of protobuf messages, whose readers stop at 100 in all."""


def to_struct(value: Mapping[str, Any]) -> struct_pb2.Struct:
    """Return a Struct.

    Raises InvalidArgument for NaN, infinities, ints past ±2^53, text that UTF-8 cannot say, nesting past MAX_DEPTH, and types
    that JSON does not know.
    """
    struct = struct_pb2.Struct()
    _fill_fields(struct, value, "")
    return struct


def _fill_fields(struct: struct_pb2.Struct, value: Mapping[str, Any], pointer: str, depth: int = 1) -> None:
    for key, item in value.items():
        inner = f"{pointer}/{escaped(key)}"
        _fill(struct.fields[_text(str(key), inner)], item, inner, depth)


def _fill(target: struct_pb2.Value, value: Any, pointer: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise InvalidArgument.at(pointer, f"nested deeper than {MAX_DEPTH} objects and lists")
    match value:
        case None:
            target.null_value = struct_pb2.NULL_VALUE
        case bool():
            target.bool_value = value
        case int() | float():
            target.number_value = _number(value, pointer)
        case str():
            target.string_value = _text(value, pointer)
        case Mapping():
            target.struct_value.SetInParent()
            _fill_fields(target.struct_value, value, pointer, depth + 1)
        case Sequence() if not isinstance(value, bytes | bytearray):
            target.list_value.SetInParent()
            for index, item in enumerate(value):
                _fill(target.list_value.values.add(), item, f"{pointer}/{index}", depth + 1)
        case _:
            raise InvalidArgument.at(pointer, f"{type(value).__name__} is not a JSON type")


def _text(value: str, pointer: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidArgument.at(_clean(pointer), "text with lone surrogates is not UTF-8") from None
    return value


def _clean(text: str) -> str:
    return text.encode(errors="replace").decode()


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
