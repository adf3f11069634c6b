"""Reads what a node sends over FollowAttempts, so that one message which cannot be read harms the attempt that it is about alone.

A message carries events of many attempts. Protobuf reads all of it or nothing: text that is not UTF-8, an output nested a
hundred levels deep, or an end that is larger than anything this scheduler stores would cost every attempt on the stream its
place. So a message that cannot be read whole is taken apart: events and ends are read each for itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message
from google.rpc import status_pb2

from runtime.errors import NodeMessageInvalid, OutputTooLarge, YiVideoError
from runtime.rpc_errors import from_status
from yivideo.task.v1 import task_pb2

MAX_EVENT_BYTES = 4 * 1024 * 1024
"""A larger event is not read: nothing that may be stored is so large."""
MAX_RECEIVED_BYTES = 16 * 1024 * 1024
"""A message of more ends the stream: whom it is about is then not known."""

Told = task_pb2.TaskEvent | NodeMessageInvalid
"""An event of an attempt, or why it cannot be read."""


@dataclass
class NodeMessage:
    """One FollowAttemptsResponse as it can be used."""

    events: list[tuple[int, Told]] = field(default_factory=list)
    """By watch number, in order."""
    ends: list[tuple[int, YiVideoError | None]] = field(default_factory=list)
    """None: OK."""
    readable: bool = True
    """False: not even whom it is about can be told."""


def read_message(raw: bytes) -> NodeMessage:
    """Return what a message says. Never raises: gRPC would end the stream."""
    if len(raw) <= MAX_EVENT_BYTES:
        try:
            whole = task_pb2.FollowAttemptsResponse.FromString(raw)
        except DecodeError:
            pass
        else:
            return NodeMessage(
                [(told.watch, told.event) for told in whole.events],
                [(end.watch, _end(end.status)) for end in whole.ends],
            )
    try:
        parts: Any = _PARTS.FromString(raw)
    except DecodeError:
        return NodeMessage(readable=False)
    return NodeMessage(
        [(told.watch, _event(told.event)) for told in parts.events],
        [(end.watch, _end(end.status)) for end in parts.ends],
    )


def _event(raw: bytes) -> Told:
    if len(raw) > MAX_EVENT_BYTES:
        return OutputTooLarge(
            f"the node sent an event of {len(raw)} bytes; what is large should be stored as a file"
        )
    try:
        return task_pb2.TaskEvent.FromString(raw)
    except DecodeError:
        return NodeMessageInvalid(
            "the node sent an event that cannot be read: it is nested too deep, has text that is not UTF-8, or is damaged"
        )


def _end(raw: bytes) -> YiVideoError | None:
    if not raw:
        return None
    try:
        status = status_pb2.Status.FromString(raw)
    except DecodeError:
        return NodeMessageInvalid("the node ended a watch with a status that cannot be read")
    return from_status(status) if status.code else None


def _fields(*fields: tuple[str, int, str]) -> Iterator[descriptor_pb2.FieldDescriptorProto]:
    kinds = descriptor_pb2.FieldDescriptorProto
    for name, number, kind in fields:
        made = kinds(name=name, number=number, label=kinds.LABEL_OPTIONAL)
        if kind.startswith("."):
            made.type, made.type_name, made.label = kinds.TYPE_MESSAGE, kind, kinds.LABEL_REPEATED
        else:
            made.type = kinds.TYPE_INT64 if kind == "int64" else kinds.TYPE_BYTES
        yield made


def _make_parts() -> type[Message]:
    """Make FollowAttemptsResponse with its events unread: embedded messages and bytes are the same on the wire."""
    file = descriptor_pb2.FileDescriptorProto(name="parts.proto", package="parts", syntax="proto3")
    file.message_type.add(name="Event", field=_fields(("watch", 1, "int64"), ("event", 2, "bytes")))
    file.message_type.add(name="End", field=_fields(("watch", 1, "int64"), ("status", 2, "bytes")))
    file.message_type.add(
        name="Parts", field=_fields(("events", 1, ".parts.Event"), ("ends", 2, ".parts.End"))
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("parts.Parts"))


_PARTS = _make_parts()
