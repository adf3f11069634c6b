"""What a refused input is told: the field, and what would be right."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import orjson
import pytest

from nodekit.schema import input_schema
from runtime.errors import InvalidInput
from scheduler.queue.input_check import check_input
from scheduler.queue.references import find_references
from services.ffmpeg.inputs import SplitAudioSegmentsInput

MODES = ["a", "b", "c", "d", "e"]


def refusal(schema: dict[str, Any], value: dict[str, Any]) -> list[tuple[str, str]]:
    """The fields that are named, with what is said of them."""
    with pytest.raises(InvalidInput) as refused:
        check_input(jsonschema_rs.Draft202012Validator(schema), value)
    return [(field.pointer, field.detail) for field in refused.value.fields]


@pytest.mark.trial("10.12")
@pytest.mark.parametrize(
    ("schema", "value", "said"),
    [
        ({"enum": MODES}, "z", "must be one of: a, b, c, d, e"),
        ({"anyOf": [{"enum": MODES}, {"type": "null"}]}, "z", "must be one of: a, b, c, d, e"),
        ({"anyOf": [{"const": "x"}, {"enum": [1, None]}]}, "z", "must be one of: x, 1, null"),
        ({"const": "x"}, "z", "must be x"),
    ],
)
def test_choices_are_listed(schema: dict[str, Any], value: str, said: str) -> None:
    """All of an enumeration's values are named, also of one that may be null or stands in branches."""
    assert refusal({"properties": {"mode": schema}}, {"mode": value}) == [("/input/mode", said)]


@pytest.mark.trial("10.12")
def test_splitting_without_what_says_where_is_refused_at_submit() -> None:
    """By subtitles, which is the default, and by segments; what a workflow fills will do; other ways need neither."""
    schema = orjson.loads(input_schema(SplitAudioSegmentsInput))
    assert refusal(schema, {"audio_path": "a.wav"}) == [("/input/subtitle_path", "is required")]
    assert refusal(schema, {"audio_path": "a.wav", "by": "segments"}) == [("/input/segments", "is required")]
    assert refusal(schema, {"audio_path": "a.wav", "subtitle_path": None})[0][0] == "/input/subtitle_path"
    validator = jsonschema_rs.Draft202012Validator(schema)
    for good in ({"by": "silence"}, {"by": "fixed"}, {"subtitle_path": "a.srt"}):
        check_input(validator, {"audio_path": "a.wav", **good})
    check_input(validator, {"audio_path": "a.wav"}, filled={"subtitle_path"})
    value = {"audio_path": "${{ stages.ffmpeg.extract_audio.output.audio_path }}"}
    with pytest.raises(InvalidInput):
        check_input(validator, value, find_references(value))


def test_a_long_value_is_not_repeated_whole() -> None:
    """Its beginning is, and what is wrong with it, which is said behind it."""
    value = {f"word {n}": "x" * 600 for n in range(501)}
    ((pointer, said),) = refusal({"properties": {"glossary": {"maxProperties": 500}}}, {"glossary": value})
    assert pointer == "/input/glossary" and said.startswith('{"word 0"')
    assert said.endswith("has more than 500 properties") and len(said) < 400


def test_a_long_enumeration_is_cut() -> None:
    """64 are named, the rest is counted."""
    ((_, said),) = refusal({"properties": {"n": {"enum": list(range(100))}}}, {"n": -1})
    assert said.endswith("62, 63 and 36 more")


@pytest.mark.trial("10.12")
def test_of_several_forms_the_one_that_was_meant_is_judged() -> None:
    """The faulty field inside it is named; where every form only lacks a field, those are named."""
    form = {"type": "object", "properties": {"mode": {"enum": MODES}}, "additionalProperties": False}
    schema = {"properties": {"cut": {"oneOf": [{"type": "integer"}, form]}}}
    assert refusal(schema, {"cut": {"mode": "z"}}) == [("/input/cut/mode", "must be one of: a, b, c, d, e")]
    assert refusal(schema, {"cut": {"word": 1}}) == [("/input/cut/word", "is not a field of this task")]
    needed = {"anyOf": [{"required": ["subtitle_path"]}, {"required": ["segments"]}]}
    assert refusal(needed, {}) == [("/input", "needs one of the fields: subtitle_path, segments")]
