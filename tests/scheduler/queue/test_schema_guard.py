"""What a schema must be before inputs are checked by it: closed in itself, and bounded in what it costs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runtime.errors import InvalidInput
from runtime.schema_guard import (
    MAX_CHECKS,
    MAX_SCHEMA_BYTES,
    MAX_SCHEMA_DEPTH,
    SchemaRefused,
    read_closed_schema,
)
from scheduler.queue.input_check import check_input
from scheduler.queue.input_schema import compile_schema
from scheduler.queue.task_types import KnownType
from yivideo.task.v1 import task_pb2

TREE = {"$defs": {"t": {"properties": {"left": {"$ref": "#/$defs/t"}, "right": {"$ref": "#/$defs/t"}}}}}


def compiled(text: str) -> Any:
    """The validator of a schema as a node publishes it."""
    return compile_schema(read_closed_schema(text))


def doubled(times: int) -> dict[str, Any]:
    """A schema of one reference whose target is asked 2^times times."""
    kinds: dict[str, Any] = {"d0": {"type": "integer"}}
    for number in range(1, times + 1):
        kinds[f"d{number}"] = {"allOf": [{"$ref": f"#/$defs/d{number - 1}"}] * 2}
    return {"$defs": kinds, "properties": {"n": {"$ref": f"#/$defs/d{times}"}}}


def nested(depth: int, inner: dict[str, Any]) -> dict[str, Any]:
    for _ in range(depth):
        inner = {"properties": {"a": inner}}
    return inner


@pytest.mark.trial("10.18")
@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "http://127.0.0.1:1/x"},
        {"$ref": "https://example.com/schema.json#/a"},
        {"$ref": "file:///etc/passwd"},
        {"$ref": "other.json"},
        {"$ref": "//host/x"},
        {"$id": "http://127.0.0.1:1/a/", "$ref": "b"},
        {"$id": "http://127.0.0.1:1/a", "properties": {"a": {"$ref": "http://127.0.0.1:1/a#/b"}}},
        {"$dynamicRef": "http://127.0.0.1:1/x#y"},
        {"$recursiveRef": "http://127.0.0.1:1/x"},
        {"$defs": {"unused": {"$ref": "http://127.0.0.1:1/x"}}},
        {"properties": {"a": {"$id": "http://127.0.0.1:1/z", "$ref": "#/q"}}},
        {"$ref": "#/nowhere"},
        {"$ref": "#nobody"},
        {"enum": [{"type": "string"}], "$ref": "#/enum/0"},
        {"properties": {"a": {"$schema": "http://127.0.0.1:1/meta"}}},
    ],
)
def test_a_reference_that_leaves_the_schema_is_refused(schema: dict[str, Any]) -> None:
    """Whatever would have to be fetched or read, or changes what a reference means, is refused before anything is fetched."""
    with pytest.raises(SchemaRefused, match=r"refer|\$id|\$schema"):
        compiled(json.dumps(schema))


@pytest.mark.trial("10.18")
@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"allOf": [{"$ref": "#"}]},
        {"$ref": "#/$defs/a", "$defs": {"a": {"not": {"$ref": "#/$defs/b"}}, "b": {"$ref": "#/$defs/a"}}},
        doubled(11),
        doubled(200),
        {"$defs": {"s": {"items": {"allOf": [{"$ref": "#/$defs/s"}] * 2}}}, "$ref": "#/$defs/s"},
        {"allOf": [{"pattern": f"a{number}"} for number in range(100)]},
        nested(MAX_SCHEMA_DEPTH + 1, {}),
        {"pattern": "(?:.{0,500}){20}x"},
        {"pattern": r"^(?=a)(a|aa)+\1$"},
        {"description": "x" * MAX_SCHEMA_BYTES},
    ],
)
def test_a_schema_that_could_cost_without_end_is_refused(schema: dict[str, Any]) -> None:
    """A circle in place, doublings, many or large or backtracking patterns, depth and size are refused, each at once."""
    with pytest.raises(SchemaRefused):
        compiled(json.dumps(schema))


@pytest.mark.trial("10.18")
@pytest.mark.parametrize("text", ["[]", "true", "{", '{"type": 3}', "nonsense", '{"a": NaN}'])
def test_what_is_no_schema_is_refused(text: str) -> None:
    """Text that is not JSON, or JSON that is no object or no schema, is refused with a reason."""
    with pytest.raises(SchemaRefused) as refused:
        compiled(text)
    assert str(refused.value)


@pytest.mark.trial("10.18")
@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"properties": {"n": {"$ref": "#/$defs/d"}}, "$defs": {"d": {"type": "integer"}}}, {"n": 1}, {"n": "x"}),
        ({**TREE, "$ref": "#/$defs/t"}, {"left": {"right": {}}}, None),
        ({"properties": {"n": {"$ref": "#here"}}, "$defs": {"d": {"$anchor": "here", "type": "null"}}}, {"n": None}, {"n": 1}),
        ({"$id": "https://example.com/mine", "properties": {"a": {"type": "string"}}}, {"a": ""}, {"a": 1}),
        ({"$schema": "http://127.0.0.1:1/meta", "required": ["a"]}, {"a": 1}, {}),
        ({"properties": {"$ref": {"type": "string"}}}, {"$ref": "http://127.0.0.1:1/x"}, {"$ref": 1}),
        ({"properties": {"a": {"pattern": "^(a+)+$"}}}, {"a": "aaa"}, {"a": "a" * 200_000 + "!"}),
        (
            {
                "$defs": {
                    "json": {
                        "anyOf": [
                            {"type": ["string", "number", "null"]},
                            {"type": "array", "items": {"$ref": "#/$defs/json"}},
                            {"type": "object", "additionalProperties": {"$ref": "#/$defs/json"}},
                        ]
                    }
                },
                "$ref": "#/$defs/json",
            },
            {"a": [{"b": [None, 1]}]},
            {"a": [True]},
        ),
        (doubled(7), {"n": 1}, {"n": ""}),
    ],
)  # fmt: skip
def test_a_closed_schema_checks_inputs(schema: dict[str, Any], good: Any, bad: Any) -> None:
    """References inside the schema, recursion into the value, anchors, an `$id` of its own and plain patterns work as ever."""
    known = KnownType(task_pb2.TaskType(), compiled(json.dumps(schema)), frozenset(), frozenset(), None)
    check_input(known.validator, good)
    if bad is not None:
        with pytest.raises(InvalidInput):
            check_input(known.validator, bad)


def test_the_bound_is_a_count_of_checks() -> None:
    """As many checks of one place as the bound are allowed; one more is not."""
    compiled(json.dumps({"allOf": [{}] * (MAX_CHECKS - 1)}))
    with pytest.raises(SchemaRefused, match=str(MAX_CHECKS)):
        compiled(json.dumps({"allOf": [{}] * MAX_CHECKS}))
