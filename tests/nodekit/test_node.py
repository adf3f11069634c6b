"""Laws of declaring a node: what is wrong is refused when it is declared, and schemas say what the types say."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import pytest
from pydantic import BaseModel, Field

from nodekit import MediaRef, Node, TaskContext, TaskInput, TaskOutput
from nodekit.schema import media_fields, parse_input
from runtime.errors import InvalidInput, UnknownTaskType
from tests.nodekit import toy


class Clip(BaseModel):
    source: MediaRef
    start: float = 0


class CutInput(TaskInput):
    """What to cut."""

    video_path: MediaRef
    """The video."""
    clips: list[Clip] = Field(default=[])
    logo: MediaRef | None = None
    by_name: dict[str, MediaRef] = Field(default={})
    rate: int = Field(16_000, ge=8_000)
    """Samples per second."""


def test_schema_is_2020_12_with_descriptions() -> None:
    """The published schema is a valid 2020-12 schema whose fields carry the docstrings, and it refuses unknown fields."""
    task = next(task for task in toy.node.to_protos() if task.name == "toy.echo")
    schema = json.loads(task.input_schema)
    jsonschema_rs.meta.validate(schema)
    assert schema["$schema"].endswith("2020-12/schema")
    assert schema["properties"]["text"]["description"] == "What to say."
    assert not jsonschema_rs.is_valid(schema, {"text": "a", "other": 1})
    assert jsonschema_rs.is_valid(schema, {"text": "a"})


def test_media_fields_are_found_wherever_they_are() -> None:
    """Media is found in optional, listed, mapped and nested fields."""
    assert media_fields(CutInput) == ["/video_path", "/clips/*/source", "/logo", "/by_name/*"]


def test_output_schema_has_the_url_companions() -> None:
    """The output schema accepts what nodekit adds, although models forbid extra fields."""
    task = next(task for task in toy.node.to_protos() if task.name == "toy.store")
    properties = json.loads(task.output_schema)["properties"]
    assert {"clip_path_minio_url", "part_files_minio_urls"} <= properties.keys()
    assert task.reuse_field == "frames_dir"


@pytest.mark.parametrize(
    ("value", "pointers"),
    [
        ({}, {"/video_path"}),
        ({"video_path": 3}, {"/video_path"}),
        ({"video_path": ""}, {"/video_path"}),
        ({"video_path": "v", "rate": "16000"}, {"/rate"}),
        ({"video_path": "v", "rate": 1}, {"/rate"}),
        ({"video_path": "v", "rate": True}, {"/rate"}),
        (
            {"video_path": "v", "clips": [{"source": "a"}, {"start": "x"}]},
            {"/clips/1/source", "/clips/1/start"},
        ),
        ({"video_path": "v", "a/b~c": 1}, {"/a~1b~0c"}),
        ({"video_path": "v", "logo": 5}, {"/logo"}),
    ],
)
def test_bad_input_is_named_by_pointer(value: dict[str, Any], pointers: set[str]) -> None:
    """Every fault is named by the JSON pointer of the field, as strictly as JSON Schema would."""
    with pytest.raises(InvalidInput) as refused:
        parse_input(CutInput, value)
    assert {field.pointer for field in refused.value.fields} == {f"/input{pointer}" for pointer in pointers}


def test_integral_numbers_fit_both_kinds() -> None:
    """A whole number is good for an int and for a float field."""
    parsed = parse_input(CutInput, {"video_path": "v", "clips": [{"source": "a", "start": 2}], "rate": 8000})
    assert (parsed.clips[0].start, parsed.rate) == (2.0, 8000)


def test_declaration_faults_are_loud() -> None:
    """A task that could not run is refused where it is declared."""
    node = Node("demo")

    async def no_docstring(request: CutInput, context: TaskContext) -> toy.Nothing:
        return toy.Nothing()

    async def wrong_input(request: dict[str, Any], context: TaskContext) -> toy.Nothing:
        """Takes a dict."""
        return toy.Nothing()

    async def wrong_output(request: CutInput, context: TaskContext) -> dict[str, Any]:
        """Returns a dict."""
        return {}

    def not_async(request: CutInput, context: TaskContext) -> toy.Nothing:
        """Blocks."""
        return toy.Nothing()

    for function in (no_docstring, wrong_input, wrong_output, not_async):
        with pytest.raises(TypeError):
            node.task("demo.cut")(function)  # type: ignore[type-var]
    for name in ("other.cut", "demo.", "demo.Cut", "cut"):
        with pytest.raises(ValueError, match="task name"):
            node.task(name)
    with pytest.raises(ValueError, match="node name"):
        Node("Demo")
    with pytest.raises(ValueError, match="timeout_seconds"):
        node.task("demo.cut", timeout_seconds=0)


def test_what_a_task_lacks_is_published_with_what_does_without_it() -> None:
    """It is asked when the types are told, so that an operator's settings decide."""
    node, missing = Node("demo"), ["a model: set X"]

    class Nothing(TaskOutput):
        pass

    async def cut(request: CutInput, context: TaskContext) -> Nothing:
        """Cuts."""
        return Nothing()

    node.task("demo.cut", lacking=lambda: missing[0], lacking_unless=("model",))(cut)
    (told,) = node.to_protos()
    assert (told.lacking, list(told.lacking_unless)) == ("a model: set X", ["model"])
    before = node.etag()
    missing[0] = ""
    assert node.to_protos()[0].lacking == "" and node.etag() != before


def test_same_name_twice_and_missing_reuse_field() -> None:
    """Two tasks of one name, and a reuse field that does not exist, are refused."""
    node = Node("demo")

    class Answer(TaskOutput):
        audio_path: MediaRef

    async def cut(request: CutInput, context: TaskContext) -> Answer:
        """Cuts."""
        return Answer(audio_path="a")

    with pytest.raises(ValueError, match="reuse_field"):
        node.task("demo.cut", reuse_field="nothing")(cut)
    node.task("demo.cut")(cut)
    assert node.find("demo.cut").reuse_field == "audio_path"
    with pytest.raises(ValueError, match="twice"):
        node.task("demo.cut")
    with pytest.raises(UnknownTaskType):
        node.find("demo.paste")


def test_etag_follows_the_types() -> None:
    """The etag is equal for equal declarations and changes with them."""

    def declared(description: str) -> Node:
        node = Node("demo")

        async def cut(request: CutInput, context: TaskContext) -> toy.Nothing:
            return toy.Nothing()

        cut.__doc__ = description
        node.task("demo.cut")(cut)
        return node

    assert declared("Cuts.").etag() == declared("Cuts.").etag() != declared("Cuts well.").etag()
