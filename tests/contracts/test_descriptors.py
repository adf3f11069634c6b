"""The contracts themselves: complete comments, one naming, and types that every client language can hold."""

from __future__ import annotations

import re

import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto, EnumDescriptorProto, FieldDescriptorProto

from runtime import errors
from tests.contracts.descriptors import PROTOS, STATUS_NAMES, Commented, compiled, every_element, of_kind

FOREIGN = frozenset({"externalscaler"})
"""Packages of contracts that are others': what they are called is theirs to say."""
UNSIGNED = {
    FieldDescriptorProto.TYPE_UINT32, FieldDescriptorProto.TYPE_UINT64,
    FieldDescriptorProto.TYPE_FIXED32, FieldDescriptorProto.TYPE_FIXED64,
}  # fmt: skip


def named(element: Commented) -> str:
    return element.name


def test_the_walk_finds_everything() -> None:
    """The other laws look at every element: the walk counts what a plain reading of the files counts."""
    text = "\n".join(re.sub(r"//.*", "", path.read_text()) for path in PROTOS.rglob("*.proto"))
    for kind, pattern in (
        ("rpc", r"^\s*rpc\s"),
        ("service", r"^\s*service\s"),
        ("message", r"^\s*message\s"),
        ("enum", r"^\s*enum\s"),
    ):
        assert len(of_kind(kind)) == len(re.findall(pattern, text, re.MULTILINE))
    assert len(of_kind("field")) + len(of_kind("value")) == len(re.findall(r"=\s*\d+\s*[;\[]", text))


@pytest.mark.parametrize("element", every_element(), ids=named)
def test_everything_is_commented(element: Commented) -> None:
    """Every service, RPC, message, field, enum and value says what it is, in a sentence."""
    assert len(element.comment) >= 4, f"{element.kind} {element.name} has no comment"
    assert element.comment.rstrip().endswith((".", ":", ")")), f"{element.name}: not a sentence"


def test_every_package_is_its_folder_and_has_a_version() -> None:
    """yivideo/task/v1/… is package yivideo.task.v1."""
    for file in compiled().file:
        if file.package in FOREIGN:
            continue
        assert file.package == file.name.rpartition("/")[0].replace("/", ".")
        assert re.fullmatch(r"yivideo\.[a-z]+\.v[1-9]\d*", file.package)


def test_zero_of_every_enum_is_unspecified() -> None:
    """A value that was never set is not one that means something; values carry their enum's name."""
    for enum in of_kind("enum"):
        assert isinstance(enum.element, EnumDescriptorProto)
        prefix = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", enum.element.name).upper() + "_"
        assert [value.name for value in enum.element.value if value.number == 0] == [prefix + "UNSPECIFIED"]
        assert all(value.name.startswith(prefix) for value in enum.element.value)


def test_no_field_is_unsigned() -> None:
    """Languages without unsigned integers must be able to hold every value."""
    fields = of_kind("field")
    assert [field.name for field in fields if field.element.type in UNSIGNED] == []  # type: ignore[union-attr]


def test_instants_and_lengths_say_so() -> None:
    """A Timestamp's name ends as an instant, and a number that ends in `_time` would not be one."""
    for field in of_kind("field"):
        assert isinstance(field.element, FieldDescriptorProto)
        last = field.name.rpartition(".")[2]
        instant = last == "time" or last.endswith(("_time", "_after", "_before", "_deadline"))
        stamp = field.element.type_name == ".google.protobuf.Timestamp"
        assert instant == stamp, field.name


def test_names_follow_one_form() -> None:
    """Fields are snake_case; messages, services and RPCs PascalCase; an RPC's messages are `<RPC>Request` or shared."""
    for element in every_element():
        last = element.name.rpartition(".")[2]
        pattern = {"field": r"[a-z][a-z0-9_]*", "value": r"[A-Z][A-Z0-9_]*"}.get(
            element.kind, r"[A-Z][A-Za-z0-9]*"
        )
        assert re.fullmatch(pattern, last), element.name
    for rpc in of_kind("rpc"):
        if rpc.name.partition(".")[0] in FOREIGN:
            continue
        request = rpc.element.input_type.rpartition(".")[2]  # type: ignore[union-attr]
        assert request == rpc.name.rpartition(".")[2] + "Request"


@pytest.mark.parametrize("rpc", of_kind("rpc"), ids=named)
def test_every_rpc_names_its_errors(rpc: Commented) -> None:
    """Each RPC names its status codes or inherits its service's; what looks like a code is one of gRPC's."""
    assert rpc.codes(), f"{rpc.name} names no status code"
    states = {value.name.rpartition(".")[2].split("_STATE_")[-1] for value in of_kind("value")}
    known = (
        STATUS_NAMES | states | errors.class_by_code().keys() | {"GET", "PUT", "URL", "SIGTERM", "SIGKILL"}
    )
    shouted = set(re.findall(r"\b[A-Z]{3,}(?:_[A-Z]+)*\b", rpc.comment)) - {
        "RPC",
        "JSON",
        "MIME",
        "SHA",
        "KEDA",
    }
    assert shouted <= known


def test_messages_are_used() -> None:
    """A message that nothing carries is a leftover."""
    used = {rpc.element.input_type.lstrip(".") for rpc in of_kind("rpc")}  # type: ignore[union-attr]
    used |= {rpc.element.output_type.lstrip(".") for rpc in of_kind("rpc")}  # type: ignore[union-attr]
    used |= {field.element.type_name.lstrip(".") for field in of_kind("field")}  # type: ignore[union-attr]
    for message in of_kind("message"):
        assert isinstance(message.element, DescriptorProto)
        assert message.name in used, f"nothing uses {message.name}"
