"""The contracts as protoc reads them: every element with its comment, from a descriptor set compiled on the spot."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import grpc
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    EnumValueDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
    ServiceDescriptorProto,
)

PROTOS = Path(__file__).resolve().parents[2] / "protos"

STATUS_NAMES = frozenset(status.name for status in grpc.StatusCode)
_CAPITALS = re.compile(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*\b")

Element = (
    DescriptorProto
    | EnumDescriptorProto
    | EnumValueDescriptorProto
    | FieldDescriptorProto
    | MethodDescriptorProto
    | ServiceDescriptorProto
)


@dataclass(frozen=True)
class Commented:
    """One element of a contract: its full name, what protoc knows of it, and its leading comment."""

    kind: str
    name: str
    element: Element
    comment: str
    parent_comment: str = ""

    def codes(self) -> frozenset[str]:
        """The gRPC status names that the comment, or for an RPC also its service's, speaks of."""
        words = _CAPITALS.findall(self.comment + "\n" + self.parent_comment)
        return STATUS_NAMES.intersection(words)


@cache
def compiled() -> FileDescriptorSet:
    """Compile every contract of the project with its comments."""
    files = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))
    assert files, "no contract found"
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "contracts.binpb"
        command = [
            sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTOS}", "--include_source_info",
            f"--descriptor_set_out={target}", *files,
        ]  # fmt: skip
        subprocess.run(command, check=True, timeout=60)
        return FileDescriptorSet.FromString(target.read_bytes())


def elements(file: FileDescriptorProto) -> Iterator[Commented]:
    """Walk one contract; the entries that protoc makes for maps are left out."""
    comments = {tuple(place.path): place.leading_comments.strip() for place in file.source_code_info.location}

    def at(*path: int) -> str:
        return comments.get(path, "")

    for index, message in enumerate(file.message_type):
        yield from _message(message, (4, index), file.package, at)
    for index, enum in enumerate(file.enum_type):
        yield from _enum(enum, (5, index), file.package, at)
    for index, service in enumerate(file.service):
        name, about = f"{file.package}.{service.name}", at(6, index)
        yield Commented("service", name, service, about)
        for number, method in enumerate(service.method):
            yield Commented("rpc", f"{name}.{method.name}", method, at(6, index, 2, number), about)


def _message(message: DescriptorProto, path: Sequence[int], scope: str, at) -> Iterator[Commented]:  # type: ignore[no-untyped-def]
    if message.options.map_entry:
        return
    name = f"{scope}.{message.name}"
    yield Commented("message", name, message, at(*path))
    for index, field in enumerate(message.field):
        yield Commented("field", f"{name}.{field.name}", field, at(*path, 2, index))
    for index, inner in enumerate(message.nested_type):
        yield from _message(inner, (*path, 3, index), name, at)
    for index, enum in enumerate(message.enum_type):
        yield from _enum(enum, (*path, 4, index), name, at)


def _enum(enum: EnumDescriptorProto, path: Sequence[int], scope: str, at) -> Iterator[Commented]:  # type: ignore[no-untyped-def]
    name = f"{scope}.{enum.name}"
    yield Commented("enum", name, enum, at(*path))
    for index, value in enumerate(enum.value):
        yield Commented("value", f"{name}.{value.name}", value, at(*path, 2, index))


@cache
def every_element() -> tuple[Commented, ...]:
    """Every element of every contract."""
    return tuple(element for file in compiled().file for element in elements(file))


def of_kind(kind: str) -> list[Commented]:
    """Every element of one kind, in the order of the files."""
    return [element for element in every_element() if element.kind == kind]
