"""What other parts read of a node's output is what the node publishes: held to the schemas of the nodes themselves.

A part that reads a field by its name has a test with a small node or a prepared answer, which goes on passing when the node's
field is called otherwise. Here are the places where fields are read, each with the task whose output it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.templates.catalogue import TEMPLATES
from nodekit import Node
from scheduler.queue.smart_source import RULES
from services.asr.node import node as asr
from services.diarize.node import node as diarize
from services.ffmpeg.node import node as ffmpeg
from services.llm.node import node as llm
from services.ocr.node import node as ocr
from services.separate.node import node as separate
from services.subtitle.node import node as subtitle
from services.tts.node import node as tts
from tests.gateway.openai.small_nodes import hearing, speaking

ROOT = Path(__file__).parents[2]
HEAR, SPEAK = "faster_whisper.transcribe_audio", "indextts.generate_speech"
KINDS = {
    kind.name: kind
    for node in (asr, diarize, ffmpeg, llm, ocr, separate, subtitle, tts)
    for kind in node.to_protos()
}
READ = (
    ("gateway/openai/transcript.py", "self.output", HEAR),
    ("gateway/openai/speech.py", "from_struct(done.output)", SPEAK),
    ("stack/demo/acts.py", "audio", "ffmpeg.extract_audio"),
    ("stack/demo/acts.py", "frames", "ffmpeg.extract_keyframes"),
    ("stack/demo/acts.py", "split", "ffmpeg.split_audio_segments"),
    ("stack/demo/acts.py", "read", "paddleocr.extract_subtitles"),
    ("stack/demo/acts.py", "spoken", SPEAK),
    ("stack/demo/acts.py", "output", HEAR),
    ("stack/demo/acts.py", "made", "wservice.mux_subtitles"),
    ("stack/demo/acts.py", 'script.outputs["cues"]', "wservice.generate_subtitle_files"),
    ("stack/demo/acts.py", 'script.outputs["speakers"]', "pyannote_audio.diarize_speakers"),
    ("stack/demo/acts.py", 'script.outputs["who"]', "pyannote_audio.assign_speakers"),
    ("yivideo_client/__init__.py", "task.output", "ffmpeg.extract_audio"),
    ("yivideo_client/README.md", "task.output", "ffmpeg.extract_audio"),
)
"""File, what holds the output in it, and whose output it is."""
REFERENCE = re.compile(r"\$\{\{ *(stages|tasks)\.([\w.]+?)\.output\.([\w.]+) *\}\}")


def has(task_name: str, pointer: str) -> bool:
    """Tell whether an output of the task may have a value there."""
    schema: dict[str, Any] = json.loads(KINDS[task_name].output_schema)
    steps, at = pointer.strip("/").split("/"), schema
    for step in steps:
        choices = [one for one in (at, *at.get("anyOf", ())) if one.get("type") != "null"]
        choices = [_resolved(one, schema) for one in choices]
        found = [one["properties"][step] for one in choices if step in one.get("properties", {})]
        found += [one["items"] for one in choices if step.isdigit() and one.get("items")]
        found += [
            one["additionalProperties"]
            for one in choices
            if isinstance(one.get("additionalProperties"), dict)
        ]
        if not found:
            return False
        at = found[0]
    return True


def _resolved(schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    name = schema.get("$ref", "").rpartition("/")[2]
    return root["$defs"][name] if name else schema


def types(schema: dict[str, Any], root: dict[str, Any]) -> set[str]:
    """Return the JSON types that a value may have, null left out."""
    choices = [_resolved(one, root) for one in schema.get("anyOf", (schema,))]
    return {one.get("type", "") for one in choices} - {"null"}


def references(keys: dict[str, str], value: Any) -> Iterator[tuple[str, str]]:
    """Yield task name and pointer of each reference in a text, or in the texts of a value."""
    for form, head, field in REFERENCE.findall(value if isinstance(value, str) else json.dumps(value)):
        yield (keys[head] if form == "tasks" else head), field.replace(".", "/")


@pytest.mark.parametrize(("file", "holder", "task_name"), READ)
def test_a_field_that_is_read_is_a_field_of_the_output(file: str, holder: str, task_name: str) -> None:
    """Each name in brackets behind the output is one that the node publishes; a place that is gone leaves the table."""
    fields = re.findall(rf"(?<![\w.\"]){re.escape(holder)}\[['\"](\w+)['\"]\]", (ROOT / file).read_text())
    assert fields
    assert [field for field in fields if not has(task_name, field)] == []


def test_references_name_what_is_published() -> None:
    """Of the templates, their results too, of the demo, of the pages, and of the fields that a workflow fills by itself."""
    named = [
        pair
        for template in TEMPLATES.values()
        for pair in references(
            {task.key: task.task for task in template.content.tasks}, template.content.model_dump()
        )
    ]
    named += references({}, (ROOT / "stack/demo/acts.py").read_text())
    named += [source for rules in RULES.values() for rule in rules for source in rule.sources]
    assert len(named) > 100
    known = [(name, pointer) for name, pointer in named if name in KINDS]
    assert {name.partition(".")[0] for name, _ in named} - {name.partition(".")[0] for name in KINDS} <= {
        "qwen3_asr",  # the first system's other nodes that hear, which are no part of this one
        "funasr",
    }
    assert [(name, pointer) for name, pointer in known if not has(name, pointer)] == []


@pytest.mark.parametrize("small", [hearing, speaking], ids=lambda node: node.name)
def test_the_small_nodes_are_the_real_ones_made_smaller(small: Node) -> None:
    """What OpenAI's endpoints are tested with takes and gives nothing that the real node does not, and in the same form."""
    for kind in small.to_protos():
        for which in ("input_schema", "output_schema"):
            few, all_of_it = (json.loads(getattr(one, which)) for one in (kind, KINDS[kind.name]))
            for name, field in few["properties"].items():
                assert name in all_of_it["properties"], f"{kind.name}: {which} has no {name}"
                wanted, real = types(field, few), types(all_of_it["properties"][name], all_of_it)
                assert wanted <= real, f"{kind.name}: {name} is {real} there"
