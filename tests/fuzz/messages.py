"""Bytes for an RPC's request that no client of ours would send, and some that one might: drawn from one seeded source."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

TEXTS = (
    "", " ", "\0", "a\0b", "..", "../../etc/passwd", "/", "//", "/share/a", "files/../x", "%00", "%2e%2e%2f",
    "𝒳" * 40, "\u202e", "é" * 64,
    "😀" * 33, "'; --", "{test}:t:x", "*", "[a]", "\r\nX: y", "ffmpeg.extract_audio", "ffmpeg.no_such", ".", "a.b.c", "T" * 200,
    "x" * 5000, "y" * 70_000, "http://[::1", "http://127.0.0.1:1/", "http://a:99999/", "file:///etc/passwd", "s3://a/b", "data:,x",
    "gopher://x", "http://169.254.169.254/", "https://" + "a." * 130 + "b/", "-1", "9" * 40, "0x10", "NaN", "${x.y}", "${{ a }}",
    "task-1", "1970-01-01", "whsec_", "{", "\\", "\ufeff", "\u0000\uffff",
)  # fmt: skip
NUMBERS = (
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    1e-308,
    5e-324,
    1e308,
    -1e308,
    2.0**53,
    2.0**63,
    math.nan,
    math.inf,
    -math.inf,
    604_801.0,
    3.7,
)
_LARGEST = {
    FieldDescriptor.TYPE_INT32: 2**31 - 1, FieldDescriptor.TYPE_INT64: 2**63 - 1, FieldDescriptor.TYPE_SINT32: 2**31 - 1,
    FieldDescriptor.TYPE_ENUM: 2**31 - 1,
}  # fmt: skip
_FLOATS = (FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FLOAT)
_MOST_DEEP = 3


class Malformer:
    """Makes requests; `known` are values that exist, so that some requests go further than the first check."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.known: list[str] = []
        """Ids of tasks, paths of files: grows while the run goes on."""

    def request(self, kind: Descriptor, good: Sequence[Message]) -> bytes:
        """Return the bytes of one request of a kind; `good` are messages that its server would accept."""
        pick = self.random
        draw = pick.random()
        if draw < 0.08:
            return pick.randbytes(pick.choice((0, 1, 2, 7, 40, 300)))
        if draw < 0.35 or not good:
            return self._serialized(self._absurd(kind))
        message = type(pick.choice(good))()
        message.CopyFrom(pick.choice([one for one in good if type(one) is type(message)]))
        if draw < 0.7:
            for _ in range(pick.randint(1, 3)):
                self._spoil(message)
        raw = self._serialized(message)
        if draw >= 0.9:
            return self._damaged(raw)
        return raw

    def _damaged(self, raw: bytes) -> bytes:
        pick = self.random
        match pick.randrange(4):
            case 0:
                return raw[: pick.randrange(len(raw) + 1)]
            case 1:
                changed = bytearray(raw)
                for _ in range(pick.randint(1, 4) if changed else 0):
                    changed[pick.randrange(len(changed))] ^= 1 << pick.randrange(8)
                return bytes(changed)
            case 2:
                return raw + raw[pick.randrange(len(raw) + 1) :]
        return raw + b"\xfa\xff\xff\xff\x0f" + pick.randbytes(9)  # a field that nobody knows

    @staticmethod
    def _serialized(message: Message) -> bytes:
        try:
            return message.SerializePartialToString()
        except (ValueError, RecursionError):
            return b""

    def _absurd(self, kind: Descriptor) -> Message:
        message: Message = GetMessageClass(kind)()
        for _ in range(self.random.randint(0, 5)):
            self._spoil(message)
        return message

    def _spoil(self, message: Message, depth: int = 0) -> None:
        """Give one field, here or further in, a value out of the ordinary; or take it away."""
        pick = self.random
        name = message.DESCRIPTOR.full_name
        if name in ("google.protobuf.Struct", "google.protobuf.Value", "google.protobuf.ListValue"):
            message.CopyFrom(_nest(message, pick))
            return
        fields = message.DESCRIPTOR.fields
        if not fields:
            return
        field = cast(FieldDescriptor, pick.choice(fields))
        if pick.random() < 0.1:
            message.ClearField(field.name)
        elif field.message_type is not None and field.message_type.GetOptions().map_entry:
            entries = getattr(message, field.name)
            for _ in range(pick.choice((1, 3, 40))):
                key = self._text()
                if field.message_type.fields_by_name["value"].message_type is None:
                    _try_set(entries, key, self._text())
                else:
                    self._spoil(entries[key], depth + 1)
        elif field.is_repeated:
            for _ in range(pick.choice((1, 2, 120))):
                if field.message_type is None:
                    getattr(message, field.name).append(self._scalar(field))
                elif depth < _MOST_DEEP:
                    self._spoil(getattr(message, field.name).add(), depth + 1)
        elif field.message_type is not None:
            inner = getattr(message, field.name)
            inner.SetInParent()
            for _ in range(pick.randint(0, 3) if depth < _MOST_DEEP else 0):
                self._spoil(inner, depth + 1)
        else:
            _try_set(message, field.name, self._scalar(field))

    def _text(self) -> str:
        if self.known and self.random.random() < 0.3:
            return self.random.choice(self.known)
        return self.random.choice(TEXTS)

    def _scalar(self, field: FieldDescriptor) -> Any:
        pick = self.random
        if field.type in _LARGEST:
            large = _LARGEST[field.type]
            return pick.choice((0, 1, -1, 2, 100, 1000, large, -large - 1, pick.randint(-large, large)))
        if field.type in _FLOATS:
            return pick.choice(NUMBERS)
        if field.type == FieldDescriptor.TYPE_BOOL:
            return pick.random() < 0.5
        if field.type == FieldDescriptor.TYPE_BYTES:
            return pick.randbytes(pick.choice((0, 1, 100, 10_000)))
        return self._text()


def _try_set(target: Any, name: str, value: Any) -> None:
    if isinstance(target, Message):
        setattr(target, name, value)
    else:
        target[name] = value


def _nest(message: Message, pick: random.Random) -> Message:
    """A Struct, Value or ListValue of odd values, some as deep as the wire allows."""
    made = type(message)()
    value = made
    for level in range(pick.choice((1, 1, 2, 10, 27, 29, 32))):
        name = value.DESCRIPTOR.name
        if name == "Struct":
            value = value.fields[pick.choice(("a", "", "\0", "video_path", "x" * 300, f"k{level}"))]  # type: ignore[attr-defined]
        elif name == "ListValue":
            value = value.values.add()  # type: ignore[attr-defined]
        else:
            value = value.struct_value if pick.random() < 0.5 else value.list_value  # type: ignore[attr-defined]
            value.SetInParent()
    if value.DESCRIPTOR.name == "Value":
        match pick.randrange(4):
            case 0:
                value.number_value = pick.choice(NUMBERS)  # type: ignore[attr-defined]
            case 1:
                value.string_value = pick.choice(TEXTS)  # type: ignore[attr-defined]
            case 2:
                value.null_value = pick.choice((0, 7))  # type: ignore[attr-defined]
    return made
