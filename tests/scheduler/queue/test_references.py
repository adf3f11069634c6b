"""References between the tasks of a workflow: which task they mean, what they wait for, and why some are refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runtime.errors import BadReference, InvalidInput, TaskConflict
from runtime.structs import from_struct
from tests.scheduler.conftest import Client, Harness
from tests.scheduler.fake_node import FakeNode
from yivideo.task.v1 import task_pb2

pytestmark = pytest.mark.trial("10.8")


@pytest.fixture
async def served(harness: Harness) -> tuple[FakeNode, Client]:
    """A node with many slots, and a scheduler."""
    node = await harness.node(slots=20)
    return node, await harness.scheduler()


def taking(source: str, field: str = "audio_path") -> dict[str, Any]:
    return {"video_path": f"${{{{ {source}.output.{field} }}}}"}


async def test_two_tasks_of_one_type_are_told_apart_by_their_ids(served: tuple[FakeNode, Client]) -> None:
    """`tasks.<id>` takes that task's output, however many of its type there are, and waits for it without `depends_on`."""
    node, client = served
    await client.submit("left", workflow_id="w")
    await client.submit("right", workflow_id="w")
    task = await client.submit("t", "media.split", workflow_id="w", input=taking("tasks.left"))
    assert task.state == task_pb2.TASK_STATE_BLOCKED
    await (await node.arrival("right")).complete({"audio_path": "right.wav"})
    await client.ended("right")
    await (await node.arrival("left")).complete({"audio_path": "left.wav"})
    here = await node.arrival("t")
    assert from_struct(here.request.spec.input) == {"video_path": "left.wav"}


async def test_what_depends_on_names_goes_before_the_newest(served: tuple[FakeNode, Client]) -> None:
    """Of two tasks of a stage's type the one in `depends_on` is meant, though another is newer; of two named, the newer."""
    node, client = served
    await client.submit("old", workflow_id="w")
    await client.submit("new", workflow_id="w")
    await (await node.arrival("old")).complete({"audio_path": "old.wav"})
    await (await node.arrival("new")).complete({"audio_path": "new.wav"})
    await client.ended("new")
    wanted = taking("stages.media.extract")
    await client.submit("narrow", "media.split", workflow_id="w", depends_on=["old"], input=wanted)
    await client.submit("wide", "media.split", workflow_id="w", input=wanted)
    await client.submit("both", "media.split", workflow_id="w", depends_on=["old", "new"], input=wanted)
    assert (await node.arrival("narrow")).request.spec.input["video_path"] == "old.wav"
    assert (await node.arrival("both")).request.spec.input["video_path"] == "new.wav"
    assert (await node.arrival("wide")).request.spec.input["video_path"] == "new.wav"


async def test_what_a_stage_means_is_settled_at_submit(served: tuple[FakeNode, Client]) -> None:
    """A reference to an unfinished stage waits for the task that is there at submit; one that comes later changes nothing."""
    node, client = served
    await client.submit("first", workflow_id="w")
    task = await client.submit("t", "media.split", workflow_id="w", input=taking("stages.media.extract"))
    assert task.state == task_pb2.TASK_STATE_BLOCKED
    await client.submit("second", workflow_id="w")
    await (await node.arrival("second")).complete({"audio_path": "second.wav"})
    await (await node.arrival("first")).complete({"audio_path": "first.wav"})
    assert (await node.arrival("t")).request.spec.input["video_path"] == "first.wav"


async def test_a_failed_stage_gives_way_to_one_that_may_succeed(served: tuple[FakeNode, Client]) -> None:
    """A failed task is passed over for an older one of its type; where one is meant by its id, its failure is the reason."""
    node, client = served
    await client.submit("good", workflow_id="w")
    await (await node.arrival("good")).complete({"audio_path": "good.wav"})
    await client.submit("bad", workflow_id="w")
    await (await node.arrival("bad")).fail("MEDIA_UNREADABLE")
    await client.ended("bad")
    await client.submit("t", "media.split", workflow_id="w", input=taking("stages.media.extract"))
    assert (await node.arrival("t")).request.spec.input["video_path"] == "good.wav"
    await client.submit("u", "media.split", workflow_id="w", input=taking("tasks.bad"))
    failed = await client.ended("u")
    assert (failed.error.code, failed.error.field) == ("DEPENDENCY_FAILED", "")
    assert "task 'bad', which this one depends on, failed: MEDIA_UNREADABLE: it broke" in failed.error.message


async def test_a_field_may_lie_deeper(served: tuple[FakeNode, Client]) -> None:
    """A path leads through objects and lists of the output; `$${{` is text."""
    node, client = served
    await client.submit("a")
    given = {"files": {"srt": ["x.srt", "y.srt"]}, "rate": 16000}
    await (await node.arrival("a")).complete(given)
    wanted = taking("tasks.a", "files.srt.1") | {
        "rate": "${{tasks.a.output.rate}}",
        "api_key": "$${{ secret }}",
    }
    await client.submit("b", input=wanted)
    here = await node.arrival("b")
    assert from_struct(here.request.spec.input) == {
        "video_path": "y.srt",
        "rate": 16000,
        "api_key": "${{ secret }}",
    }


REFUSED = [
    ("${{ stage.media.extract.output.audio_path }}", "must begin with `tasks.` or `stages.`, not 'stage'"),
    ("${{ stages.media.output.audio_path }}", "stages.<node>.<method>.output.<field>"),
    ("${{ tasks.a.audio_path }}", "tasks.<task id>.output.<field>"),
    ("x/${{ tasks.a.output.audio_path }}", "must be the whole value"),
    ("${{ tasks.a.output.audio_path", "must be the whole value"),
    ("${{ tasks.nobody.output.audio_path }}", "no such task: 'nobody'"),
    ("${{ tasks.others.output.audio_path }}", "no such task: 'others'"),
    ("${{ tasks.t.output.audio_path }}", "refers to the task itself"),
    ("${{ stages.media.split.output.audio_path }}", "the workflow has no task 'media.split'"),
    ("${{ stages.media.nothing.output.audio_path }}", "no node offers task 'media.nothing'"),
    ("${{ stages.media.extract.output.audio_pat }}", "has no output field 'audio_pat'; it has audio_path"),
]


@pytest.mark.parametrize(("text", "reason"), REFUSED)
async def test_what_refers_to_nothing_is_refused_at_submit(harness: Harness, text: str, reason: str) -> None:
    """Typos, references inside other text, tasks of others, stages and fields that are not there: 400, by field and cause."""
    node = FakeNode(slots=20, auto=True)
    node.types["extract"].output_schema = json.dumps(
        {"properties": {"audio_path": {}}, "additionalProperties": False}
    )
    await harness.node(node)
    client = await harness.scheduler()
    await client.submit("a", workflow_id="w")
    await client.submit("others", user="bob", workflow_id="w")
    with pytest.raises(BadReference) as refused:
        await client.submit("t", workflow_id="w", input={"video_path": "v", "sources": [1, text]})
    (field,) = refused.value.fields
    assert field.pointer == "/input/sources/1" and reason in field.detail, field


async def test_the_reason_of_a_value_that_is_not_there(served: tuple[FakeNode, Client]) -> None:
    """A skipped task, a missing field: the message names the task and what is so, `field` leads into the input."""
    node, client = served
    await client.submit("a")
    await (await node.arrival("a")).complete({"text": "x"})
    await client.submit("t", input=taking("tasks.a"))
    task = await client.ended("t")
    assert (task.error.code, task.error.field) == ("REFERENCE_UNRESOLVED", "/video_path")
    assert (
        task.error.message == "the output of task 'a' (media.extract) has no field 'audio_path'; it has text"
    )
    await client.submit("s")
    await (await node.arrival("s")).complete({}, skipped=True)
    await client.submit("u", input=taking("tasks.s"))
    assert (await client.ended("u")).error.message == "task 's', whose output is referred to, is skipped"


FILLED = {
    "type": "object",
    "properties": {"audio_path": {"type": "string"}},
    "required": ["audio_path"],
    "additionalProperties": False,
}


async def _smart(harness: Harness) -> tuple[dict[str, FakeNode], Client]:
    """Nodes with the first YiVideo's names for voices out of a film's sound, and their transcript."""
    nodes = {}
    for name, method in (
        ("ffmpeg", "extract_audio"),
        ("audio_separator", "separate_vocals"),
        ("faster_whisper", "transcribe_audio"),
    ):
        node = FakeNode(name, slots=5)
        schema = json.dumps(FILLED if name != "ffmpeg" else {})
        kind = task_pb2.TaskType(name=f"{name}.{method}", node=name, input_schema=schema)
        node.types = {method: kind}
        nodes[name] = await harness.node(node)
    return nodes, await harness.scheduler()


@pytest.mark.trial("10.21")
async def test_a_field_that_is_left_out_comes_from_the_workflow(harness: Harness) -> None:
    """The voices go before the film's sound; the task waits for what it takes, and a skipped source gives way to the next."""
    nodes, client = await _smart(harness)
    await client.submit("audio", "ffmpeg.extract_audio", workflow_id="w", input={})
    await client.submit("voices", "audio_separator.separate_vocals", workflow_id="w", input={})
    task = await client.submit("text", "faster_whisper.transcribe_audio", workflow_id="w", input={})
    assert task.state == task_pb2.TASK_STATE_BLOCKED
    await (await nodes["ffmpeg"].arrival("audio")).complete({"audio_path": "a.wav"})
    voices = await nodes["audio_separator"].arrival("voices")
    assert voices.request.spec.input["audio_path"] == "a.wav"
    await voices.complete({"vocal_audio": "v.flac"})
    here = await nodes["faster_whisper"].arrival("text")
    assert here.request.spec.input["audio_path"] == "v.flac"
    await here.complete({"segments_file": "s.json"})
    await client.submit("again", "audio_separator.separate_vocals", workflow_id="w", input={})
    await (await nodes["audio_separator"].arrival("again")).complete({}, skipped=True)
    await client.ended("again")
    await client.submit("late", "faster_whisper.transcribe_audio", workflow_id="w", input={})
    assert (await nodes["faster_whisper"].arrival("late")).request.spec.input["audio_path"] == "a.wav"


@pytest.mark.trial("10.21")
async def test_a_field_that_nobody_gives_is_required_still(harness: Harness) -> None:
    """Without a workflow, without a source in it, and with `explicit_input`, a missing field is refused as ever."""
    _, client = await _smart(harness)
    name = "faster_whisper.transcribe_audio"
    with pytest.raises(InvalidInput, match=r"/input/audio_path: is required$"):
        await client.submit("t", name, input={})
    with pytest.raises(
        InvalidInput, match=r"the workflow has no task audio_separator\.separate_vocals or ffmpeg"
    ):
        await client.submit("t", name, workflow_id="w", input={})
    await client.submit("audio", "ffmpeg.extract_audio", workflow_id="w", input={})
    with pytest.raises(InvalidInput, match=r"/input/audio_path: is required$"):
        await client.submit("t", name, workflow_id="w", input={}, explicit_input=True)


@pytest.mark.trial("10.21")
async def test_another_task_under_one_id_is_told_the_way(served: tuple[FakeNode, Client]) -> None:
    """The conflict says how tasks belong together here: ids of their own, and one workflow_id."""
    _, client = served
    await client.submit("film-1")
    with pytest.raises(TaskConflict, match="share a workflow_id"):
        await client.submit("film-1", "media.split")
