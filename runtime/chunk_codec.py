"""Writes and reads protobuf messages that are one large `bytes` field, copying the bytes once or not at all.

The protobuf library copies such a field when it is set, again when the message is written, and twice when it is read. What
goes over the wire is the same message to the byte, so a peer that knows nothing of this module notices nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from google.protobuf.message import Message

M = TypeVar("M", bound=Message)

Buffer = bytes | bytearray | memoryview

_LENGTH_DELIMITED = 2
_MAX_TAG = 0x7F
"""Tags of the fields 1 to 15 are one byte; no other is used for chunks."""
_MAX_LENGTH_BYTES = 5
"""A varint of five bytes counts up to 32 GiB, more than any message has."""


def chunk_tag(kind: type[Message], field: str) -> int:
    """Return the tag of a `bytes` field; raises ValueError for a field that is none or has a number above 15."""
    described = kind.DESCRIPTOR.fields_by_name[field]
    tag = described.number << 3 | _LENGTH_DELIMITED
    if described.type != described.TYPE_BYTES or tag > _MAX_TAG:
        raise ValueError(f"{kind.DESCRIPTOR.full_name}.{field} is not a bytes field numbered 1 to 15")
    return tag


def encode(tag: int, pieces: Sequence[Buffer]) -> bytes:
    """Return the wire form of a message whose only field is all the pieces together, copied once."""
    rest = sum(map(len, pieces))
    head = bytearray((tag,))
    while rest > 0x7F:
        head.append(rest & 0x7F | 0x80)
        rest >>= 7
    head.append(rest)
    return b"".join((head, *pieces))


def decode(tag: int, raw: bytes) -> memoryview | None:
    """Return the field's bytes, uncopied; None when the message is anything but this one field."""
    if len(raw) < 2 or raw[0] != tag:
        return None
    size = 0
    for at, byte in enumerate(raw[1 : 1 + _MAX_LENGTH_BYTES]):
        size |= (byte & 0x7F) << (7 * at)
        if byte <= 0x7F:
            chunk = memoryview(raw)[at + 2 :]
            return chunk if len(chunk) == size else None
    return None


def writer() -> Callable[[Message | bytes], bytes]:
    """Return a gRPC serializer that also takes what `encode` has made."""

    def serialize(message: Message | bytes) -> bytes:
        return message if isinstance(message, bytes) else message.SerializeToString()

    return serialize


def reader(kind: type[M], field: str) -> Callable[[bytes], M | memoryview]:
    """Return a gRPC deserializer that gives a chunk's bytes, and the message itself for everything else."""
    tag = chunk_tag(kind, field)
    parse: Any = kind.FromString

    def deserialize(raw: bytes) -> M | memoryview:
        chunk = decode(tag, raw)
        if chunk is not None:
            return chunk
        message: M = parse(raw)
        return message

    return deserialize
