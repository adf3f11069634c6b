"""Laws that every room keeps, as a class whose tests a room's module inherits."""

from __future__ import annotations

from typing import Any, ClassVar

import grpc
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from tests.contracts.calls import answer, documented, healthy, refused, services_of, symbol_file
from tests.contracts.descriptors import of_kind


class RoomLaws:
    """A room's module sets `service` (a service descriptor) and `absent` (the RPCs that this room does not offer)."""

    service: ClassVar[Any]
    absent: ClassVar[frozenset[str]] = frozenset()
    beside: ClassVar[frozenset[str]] = frozenset()
    """Full names of the services that the room offers beside it."""

    def test_reflection_lists_the_room(self, grpc_channel: grpc.Channel) -> None:
        """A client without stubs finds the service, health and reflection, and gets the contract itself."""
        assert services_of(grpc_channel) == self.beside | {
            self.service.full_name, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection",
        }  # fmt: skip
        file = FileDescriptorProto.FromString(symbol_file(grpc_channel, self.service.full_name))
        assert file.package == self.service.file.package
        assert [service.name for service in file.service] == [self.service.name]

    def test_health_serves(self, grpc_channel: grpc.Channel) -> None:
        """The process and its service are SERVING; another service is NOT_FOUND."""
        assert healthy(grpc_channel, "")
        assert healthy(grpc_channel, self.service.full_name)
        with refused("NOT_FOUND"):
            healthy(grpc_channel, "yivideo.nobody.v1.NobodyService")

    def test_every_rpc_answers_an_empty_request_as_documented(self, grpc_channel: grpc.Channel) -> None:
        """Nothing asked for, nothing broken: OK or a status that the contract names, never an internal error."""
        for method in self.service.methods_by_name.values():
            self._check(grpc_channel, method, GetMessageClass(method.input_type)())

    def test_every_rpc_answers_hostile_text_as_documented(self, grpc_channel: grpc.Channel) -> None:
        """Traversal, control characters, key-like and over-long text in every string field end in a documented status."""
        for text in (
            "../../etc/passwd",
            "/",
            "a\x00b",
            "a\nb",
            "{yivideo}:*",
            "é" * 600,
            " ",
            ".",
            "%2e%2e/",
        ):
            for method in self.service.methods_by_name.values():
                self._check(
                    grpc_channel, method, _filled(GetMessageClass(method.input_type)(), text, depth=2)
                )

    def test_every_rpc_answers_hostile_numbers_as_documented(self, grpc_channel: grpc.Channel) -> None:
        """The smallest and largest numbers in every numeric field end in a documented status."""
        for number in (-(2**31), -1, 2**31 - 1):
            for method in self.service.methods_by_name.values():
                self._check(
                    grpc_channel, method, _filled(GetMessageClass(method.input_type)(), number, depth=2)
                )

    def test_what_is_not_offered_is_unimplemented(self, grpc_channel: grpc.Channel) -> None:
        """The contract says which RPCs belong to other rooms."""
        for name in self.absent:
            method = self.service.methods_by_name[name]
            request = GetMessageClass(method.input_type)()
            assert answer(grpc_channel, self.service, name, [request]) == "UNIMPLEMENTED"

    def _check(self, channel: grpc.Channel, method: Any, request: Message) -> None:
        status = answer(channel, self.service, method.name, [request])
        if method.name in self.absent:
            assert status == "UNIMPLEMENTED", method.name
        else:
            # A malformed request may be refused anywhere; everything else must be in the contract.
            allowed = {"OK", "INVALID_ARGUMENT"} | documented(self.service.full_name, method.name)
            allowed.discard("UNIMPLEMENTED")
            assert status in allowed, f"{method.name}({request!s:.200}) answered {status}"


def only_of(word: str, service: Any) -> frozenset[str]:
    """The RPCs whose comment says `<word> only`."""
    prefix = service.full_name + "."
    return frozenset(
        rpc.name.removeprefix(prefix)
        for rpc in of_kind("rpc")
        if rpc.name.startswith(prefix) and f"{word} only" in " ".join(rpc.comment.split())
    )


def _filled(message: Message, value: str | int, depth: int) -> Message:
    """Put one value into every field that can hold it, also in the messages inside."""
    for field in message.DESCRIPTOR.fields:
        if field.is_repeated or (field.message_type is not None and not depth):
            continue
        if field.message_type is not None:
            if field.message_type.file.package.startswith("yivideo."):
                _filled(getattr(message, field.name), value, depth - 1)
                getattr(message, field.name).SetInParent()
        elif field.cpp_type == field.CPPTYPE_STRING and field.type == field.TYPE_STRING:
            if isinstance(value, str):
                setattr(message, field.name, value)
        elif isinstance(value, int) and field.cpp_type in (
            field.CPPTYPE_INT32, field.CPPTYPE_INT64, field.CPPTYPE_DOUBLE,
        ):  # fmt: skip
            setattr(message, field.name, value)
    return message
