"""What is refused before anything is sent, and never what the server would take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema_rs
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.client.test_fields import SCHEMA as PLAIN
from yivideo_client.cli.schema_check import faults

SCHEMA: dict[str, Any] = {**PLAIN}
FILM = {"video_path": Path("film.mp4")}
WIDE: dict[str, Any] = {
    **SCHEMA,
    "additionalProperties": False,
    "properties": {
        **SCHEMA["properties"],
        "language": {"anyOf": [{"const": "auto", "type": "string"}, {"enum": ["de", "en"], "type": "string"}]},
        "level": {"anyOf": [{"type": "integer", "exclusiveMinimum": 0}, {"type": "null"}]},
        "word": {"type": "string", "pattern": "^[a-z]+$", "minLength": 2, "maxLength": 4},
        "names": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 2},
        "area": {"$ref": "#/$defs/Area"},
    },
    "$defs": {
        **SCHEMA["$defs"],
        "Area": {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]},
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, ("video_path", "is required")),
        ({**FILM, "sample_rate": 3}, ("sample_rate", "3 is less than the minimum of 8000")),
        ({**FILM, "sample_rate": 8000.5}, ("sample_rate", "8000.5 is no integer")),
        ({**FILM, "mode": "c"}, ("mode", "must be one of: a, b")),
        ({**FILM, "language": "xx"}, ("language", "must be one of: auto, de, en")),
        ({**FILM, "level": 0}, ("level", "0 is not greater than 0")),
        ({**FILM, "word": "A"}, ("word", "'A' is shorter than 2 characters")),
        ({**FILM, "word": "AB"}, ("word", "'AB' does not match ^[a-z]+$")),
        ({**FILM, "names": []}, ("names", "has fewer than 1 items")),
        ({**FILM, "area": {}}, ("area.x", "is required")),
        ({**FILM, "area": {"x": "1"}}, ("area.x", "'1' is no integer")),
        ({**FILM, "sample_rate": Path("a")}, ("sample_rate", "takes no file: integer is wanted")),
        ({**FILM, "other": 1}, ("other", "is not a field of it")),
    ],
)
def test_what_is_wrong_is_named(given: dict[str, Any], said: tuple[str, str]) -> None:
    """The field, and what would be right."""
    assert said in faults(given, WIDE)


def test_what_is_not_known_yet_is_not_judged() -> None:
    """A local file stands where its path will, a reference where an output will; a workflow may fill what is missing."""
    assert (
        faults({"video_path": "${{ tasks.a.output.film }}", "sample_rate": "${{ tasks.a.output.n }}"}, WIDE)
        == []
    )
    assert faults({**FILM, "word": Path("X")}, WIDE) == []
    assert faults({}, WIDE, filled=True) == []
    assert faults({"area": {}}, WIDE, filled=True) == [("area.x", "is required")]


_PLAIN = st.none() | st.booleans() | st.integers(-5, 200_000) | st.floats(-5, 200_000) | st.sampled_from(
    ["", "a", "ab", "de", "auto", "AB", "abcde"]
)  # fmt: skip
_VALUES = (
    _PLAIN | st.lists(_PLAIN, max_size=3) | st.dictionaries(st.sampled_from(["x", "y"]), _PLAIN, max_size=2)
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from([*WIDE["properties"], "unknown"]), _VALUES, max_size=4))
def test_nothing_is_refused_that_the_server_takes(task_input: dict[str, Any]) -> None:
    """Whatever the validator that the server runs calls good has no fault here; of these keywords the other way round, too."""
    sent = orjson.loads(orjson.dumps(task_input))
    good = jsonschema_rs.Draft202012Validator(WIDE).is_valid(sent)
    assert bool(faults(sent, WIDE)) is not good
