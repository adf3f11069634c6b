"""Struct and dict: what goes in comes out, and what would not is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
from google.protobuf import struct_pb2
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import InvalidArgument
from runtime.structs import MAX_DEPTH, MAX_SAFE_INTEGER, from_struct, to_struct
from yivideo.task.v1 import task_pb2

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-MAX_SAFE_INTEGER, MAX_SAFE_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


def kinds(value: Any) -> Any:
    """Return the shape of a value: which leaves are bool and which are numbers."""
    if isinstance(value, dict):
        return {key: kinds(item) for key, item in value.items()}
    if isinstance(value, list):
        return [kinds(item) for item in value]
    return (
        bool if isinstance(value, bool) else type(value) if not isinstance(value, int | float) else "number"
    )


@given(st.dictionaries(TEXT, VALUES, max_size=5))
def test_a_json_object_survives_the_wire(value: dict[str, Any]) -> None:
    """Every JSON object comes back equal and with the same types, through serialised bytes."""
    sent = task_pb2.TaskSpec(input=to_struct(value)).SerializeToString()
    back = from_struct(task_pb2.TaskSpec.FromString(sent).input)
    assert back == value
    assert kinds(back) == kinds(value)


@given(st.integers(-MAX_SAFE_INTEGER, MAX_SAFE_INTEGER))
def test_an_int_comes_back_as_an_int(number: int) -> None:
    """What the client wrote as 16000 is not 16000.0 for the task."""
    back = from_struct(to_struct({"n": number}))["n"]
    assert back == number
    assert isinstance(back, int)


def test_integral_floats_become_ints_only_where_doubles_are_exact() -> None:
    """Past 2^53 a double stays a double."""
    back = from_struct(to_struct({"a": 2.0, "b": 1e300, "c": 0.5, "d": float(2**54)}))
    assert [type(back[key]) for key in "abcd"] == [int, float, float, float]


@pytest.mark.parametrize(
    ("value", "pointer"),
    [
        ({"a": math.nan}, "/a"),
        ({"a": [0, math.inf]}, "/a/1"),
        ({"a": {"b": -math.inf}}, "/a/b"),
        ({"a": 2**53 + 1}, "/a"),
        ({"a": -(2**53) - 1}, "/a"),
        ({"a": 10**400}, "/a"),
        ({"a": b"bytes"}, "/a"),
        ({"a": {1, 2}}, "/a"),
        ({"a": object()}, "/a"),
        ({"a": ["x\udc80"]}, "/a/0"),
        ({"x\udc80": 1}, "/x?"),
        ({"a/b": {"c~d": math.nan}}, "/a~1b/c~0d"),
    ],
)
def test_what_struct_cannot_carry_is_refused_by_its_pointer(value: dict[str, Any], pointer: str) -> None:
    """No value is changed in silence; the refusal names the field as RFC 6901 writes it, and can itself be sent."""
    with pytest.raises(InvalidArgument) as caught:
        to_struct(value)
    assert caught.value.fields[0].pointer == pointer
    caught.value.message.encode()


def nested(depth: int, *, lists: bool) -> dict[str, Any]:
    value: Any = 1
    for _ in range(depth - 1):
        value = [value] if lists else {"k": value}
    return {"k": value}


@pytest.mark.parametrize("lists", [True, False])
def test_the_deepest_accepted_value_can_be_read_by_every_peer(lists: bool) -> None:
    """At the limit a value parses in the deepest message that carries one; past it, it is refused where it is sent."""
    struct = to_struct(nested(MAX_DEPTH, lists=lists))
    task = task_pb2.Task(spec=task_pb2.TaskSpec(input=struct))
    event = task_pb2.TaskEvent(gap=task_pb2.EventGap(snapshot=task))
    assert task_pb2.TaskEvent.FromString(event.SerializeToString()) == event
    with pytest.raises(InvalidArgument, match="nested"):
        to_struct(nested(MAX_DEPTH + 1, lists=lists))


def test_a_value_that_was_never_set_is_null() -> None:
    """A peer's empty Value reads as null instead of failing."""
    assert from_struct(struct_pb2.Struct(fields={"a": struct_pb2.Value()})) == {"a": None}
