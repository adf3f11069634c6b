"""The requests that the READMEs of the nodes print are run as they stand, against the node and a model's server."""

from __future__ import annotations

import json
import re
import subprocess
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from nodekit import Node
from nodekit.testkit import NodeUnderTest
from services.llm.node import node as llm_node
from services.subtitle.node import node as subtitle_node
from tests.conftest import ROOT
from tests.language_models.minds import faithful, lines_of, speaking
from tests.services.llm.conftest import Serve, fresh_settings, model_server

__all__ = ["fresh_settings", "model_server"]

NUMBERS = count(1)
NODES = {"services/llm": llm_node, "services/subtitle": subtitle_node}
FILM = "1\n00:00:01,000 --> 00:00:03,000\nHe began a confused complaint\n\n2\n00:00:04,000 --> 00:00:06,000\nagainst the wizard.\n"


def requests_of(folder: str) -> list[dict[str, Any]]:
    """The bodies of a README's calls of POST /v1/tasks."""
    text = (ROOT / folder / "README.md").read_text(encoding="utf-8")
    bodies = re.findall(r"curl -sS http://127\.0\.0\.1:8788/v1/tasks [^\n]*-d '(\{.*?\})'\n", text, re.DOTALL)
    assert len(bodies) == text.count("/v1/tasks ")
    return [json.loads(body) for body in bodies]


def answer(body: dict[str, Any]) -> str:
    """Answer subtitles faithfully, and everything else with titles."""
    try:
        lines_of(body)
    except (ValueError, KeyError):
        return '{"titles": ["Bread", "Light", "Salt"]}'
    return speaking(faithful)(body)


@pytest.mark.parametrize("folder", NODES)
async def test_every_request_works_as_printed(folder: str, tmp_path: Path, model_server: Serve) -> None:
    """Each is accepted as it stands and completes."""
    node: Node = NODES[folder]
    async with model_server(answer=answer), NodeUnderTest(node, tmp_path) as under_test:
        (under_test.root / "films").mkdir(parents=True)
        (under_test.root / "films/old.srt").write_text(FILM)
        tone = ["-f", "lavfi", "-i", "sine=d=7", "-f", "lavfi", "-i", "color=s=64x64:r=5:d=7"]
        film = [*tone, "-c:v", "libx264", "-preset", "ultrafast", str(under_test.root / "films/old.mp4")]
        subprocess.run(["ffmpeg", "-v", "error", *film], check=True)
        for request in requests_of(folder):
            result = await under_test.run(
                request["task_name"], request["input_data"], task_id=f"readme{next(NUMBERS)}"
            )
            assert result.outcome == "completed", (request, result.error)


def test_every_task_has_its_request() -> None:
    """No task of these nodes is without one."""
    shown = {request["task_name"] for folder in NODES for request in requests_of(folder)}
    assert shown == {task.name for node in NODES.values() for task in node.tasks}
