"""The examples that the nodes publish with their schemas, and that `/docs` offers: each is accepted and completes as it stands."""

from __future__ import annotations

import subprocess
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.v1.task_schemas import TaskSchemas
from nodekit import Node
from nodekit.node import TaskDefinition
from nodekit.schema import input_schema, parse_input
from nodekit.testkit import NodeUnderTest
from scheduler.queue.input_schema import compile_schema
from tests.conftest import ROOT
from yivideo.task.v1 import task_pb2

pytestmark = pytest.mark.trial("10.12")

NUMBERS = count(1)
ROOMS = sorted(folder.parent.name for folder in (ROOT / "services").glob("*/node.py"))
SRT = "1\n00:00:01,000 --> 00:00:03,000\nHe began a confused complaint\n\n2\n00:00:04,000 --> 00:00:06,000\nagainst the wizard.\n"
NEEDS_A_MODEL = {"wservice.translate_subtitles"}
"""Nothing but a model does it; the test of the README's requests runs it with one."""


def node_of(room: str) -> Node:
    node = import_module(f"services.{room}.node").node
    assert isinstance(node, Node)
    return node


def examples_of(task: TaskDefinition) -> list[dict[str, Any]]:
    return list(orjson.loads(input_schema(task.input_model)).get("examples", []))


@pytest.mark.parametrize("room", ROOMS)
def test_every_task_type_has_examples_that_fit(room: str) -> None:
    """Each is good by the published schema, as the scheduler checks it, and by the node's own model."""
    for task in node_of(room).tasks:
        schema = orjson.loads(input_schema(task.input_model))
        assert schema.get("examples"), f"{task.name} publishes no example"
        for example in schema["examples"]:
            compile_schema(schema).validate(example)
            parse_input(task.input_model, example)


def test_the_description_offers_them_as_submissions() -> None:
    """OpenAPI has each by the type's name, further ones by number; a type without any, or with what is no list, has none."""
    kinds = [
        task_pb2.TaskType(name="a.one", input_schema='{"examples": [{"x": 1}, {"x": 2}]}'),
        task_pb2.TaskType(name="a.two", input_schema='{"examples": "no"}'),
        task_pb2.TaskType(name="a.three"),
    ]
    models = {"SubmitTask": {"properties": {}}, "TaskResult": {"properties": {"output": {}}}}
    shown = TaskSchemas(kinds, models).examples
    assert {name: one["value"] for name, one in shown.items()} == {
        "a.one": {"task_name": "a.one", "input_data": {"x": 1}},
        "a.one (2)": {"task_name": "a.one", "input_data": {"x": 2}},
    }


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """A folder with the sample film, its subtitles and a voice, to be put where a node reads objects."""
    folder = tmp_path / "samples"
    folder.mkdir()
    (folder / "first.srt").write_text(SRT)
    sources = ["-f", "lavfi", "-i", "sine=d=7", "-f", "lavfi", "-i", "color=s=320x180:r=5:d=7"]
    film = [*sources, "-c:v", "libx264", "-preset", "ultrafast", str(folder / "first.mp4")]
    subprocess.run(["ffmpeg", "-v", "error", *film], check=True, timeout=60)
    voice = ["-f", "lavfi", "-i", "sine=frequency=300:d=3", str(folder / "voice.wav")]
    subprocess.run(["ffmpeg", "-v", "error", *voice], check=True, timeout=60)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("room", ["ffmpeg", "subtitle"])
async def test_the_examples_succeed(room: str, tmp_path: Path, films: Path) -> None:
    """On a node that has the sample film, every example completes."""
    node = node_of(room)
    ran = 0
    async with NodeUnderTest(node, tmp_path) as under_test:
        under_test.root.mkdir(parents=True, exist_ok=True)
        films.rename(under_test.root / "films")
        for task in node.tasks:
            for example in [] if task.name in NEEDS_A_MODEL else examples_of(task):
                result = await under_test.run(task.name, example, task_id=f"example{next(NUMBERS)}")
                assert result.outcome == "completed", (task.name, example, result.error)
                ran += 1
    assert ran >= 4
