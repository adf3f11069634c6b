"""A client that a stranger's generator makes of our description: it is whole, and it works."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gateway.v1.task_schemas import TaskSchemas
from tests.gateway.conftest import Harness
from tests.gateway.task_kinds import EXTRACT_AUDIO
from yivideo.task.v1 import task_pb2 as pb

ROOT = Path(__file__).resolve().parents[2]

CALLS = """
import json, sys
sys.path.insert(0, sys.argv[1])
from made.client import Client
from made.api.tasks import list_tasks, show_status, submit_task
from made.models import FfmpegExtractAudioInput, FfmpegExtractAudioSubmit
client = Client(base_url=sys.argv[2], raise_on_unexpected_status=True)
asked = FfmpegExtractAudioSubmit(
    task_name="ffmpeg.extract_audio", input_data=FfmpegExtractAudioInput(video_path="a.mp4"), task_id="made-1")
submitted = submit_task.sync(client=client, body=asked)
status = show_status.sync("made-1", client=client)
page = list_tasks.sync(client=client, total=True)
print(json.dumps([submitted.status, status.state, page.total, [task.task_id for task in page.tasks]]))
"""


def published() -> list[pb.TaskType]:
    """Two task types whose schemas each have a definition of one name, as nodes' schemas do."""
    schema = {
        "type": "object",
        "properties": {
            "compression_info": {"$ref": "#/$defs/CompressionInfo"},
            "video_path": {"type": "string"},
        },
        "$defs": {
            "CompressionInfo": {
                "type": "object",
                "title": "CompressionInfo",
                "properties": {"n": {"type": "integer"}},
            }
        },
    }
    text = json.dumps(schema)
    return [
        pb.TaskType(name=f"media.{name}", node="media", input_schema=text, output_schema=text)
        for name in ("cut", "crop")
    ]


@pytest.mark.trial("10.12")
async def test_no_two_schemas_have_one_title(harness: Harness) -> None:
    """Generators name classes by titles, and those of fields by their parent's: all of these differ."""
    harness.scheduler.types = [EXTRACT_AUDIO, *published()]
    async with harness.http.get("/openapi.json") as response:
        schemas: dict[str, Any] = (await response.json())["components"]["schemas"]
    titles = [re.sub(r"\W", "", schema.get("title", name)).lower() for name, schema in schemas.items()]
    assert len(set(titles)) == len(titles), sorted(title for title in titles if titles.count(title) > 1)
    of_fields = {
        re.sub(r"\W", "", schema.get("title", name)).lower() + re.sub(r"\W|_", "", field).lower()
        for name, schema in schemas.items()
        for field in schema.get("properties", {})
    }
    assert not of_fields & set(titles)
    assert TaskSchemas(published(), schemas).components.keys() <= schemas.keys()


@pytest.mark.slow
@pytest.mark.trial("10.12")
async def test_a_generated_client_is_whole_and_works(harness: Harness, tmp_path: Path) -> None:
    """openapi-python-client leaves nothing out, and what it made submits a task and reads it back."""
    harness.scheduler.types = [EXTRACT_AUDIO, *published()]
    async with harness.http.get("/openapi.json") as response:
        (tmp_path / "openapi.json").write_text(await response.text())
    made = await asyncio.to_thread(_generate, tmp_path)
    assert "Unable to process" not in made and "removal" not in made, made
    python = ROOT / ".venv-client" / "bin" / "python"
    argv = [str(python), "-c", CALLS, str(tmp_path), f"http://{harness.address}"]
    called = await asyncio.to_thread(
        subprocess.run, argv, capture_output=True, text=True, timeout=60, check=False
    )
    assert called.returncode == 0, called.stderr
    submitted, state, total, listed = json.loads(called.stdout)
    assert (submitted, state, listed) == ("pending", "pending", ["made-1"])
    assert total is None, "the fake counts nothing"


def _generate(folder: Path) -> str:
    subprocess.run([str(ROOT / "setup" / "client.sh")], check=True, timeout=300)
    generator = ROOT / ".venv-client" / "bin" / "openapi-python-client"
    argv = [str(generator), "generate", "--path", "openapi.json", "--output-path", "made", "--meta", "none"]
    environment = {"PATH": f"{generator.parent}:/usr/bin:/bin"}
    ran = subprocess.run(
        argv, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr
