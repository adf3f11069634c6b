"""What the READMEs of the nodes that mend and revise texts print, typed into a shell against a whole stack."""

from __future__ import annotations

import asyncio
import re
import subprocess
from pathlib import Path

import aiohttp
import pytest

from services.llm.node import node as llm_node
from services.subtitle.node import node as subtitle_node
from tests.conftest import ROOT
from tests.language_models.model_server import serving
from tests.services.test_readme_requests import FILM, NODES, answer
from tests.stories.conftest import running_stack
from tests.stories.test_readme import run

PRINTED = "http://127.0.0.1:8788"
TONE_ON_GREY = ("-f", "lavfi", "-i", "sine=d=7", "-f", "lavfi", "-i", "color=s=64x64:r=5:d=7")


def commands_of(folder: str) -> list[str]:
    """The calls of a README, each as it is printed."""
    text = (ROOT / folder / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    return [call for block in blocks for call in re.split(r"^(?=curl )", block, flags=re.MULTILINE) if call]


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_every_curl_of_the_text_nodes_works_as_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each task of both nodes is called at least once; every call is accepted, and every task ends well."""
    film = tmp_path / "old.mp4"
    coded = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac", str(film)]
    await asyncio.to_thread(
        subprocess.run, ["ffmpeg", "-v", "error", *TONE_ON_GREY, *coded], check=True, timeout=60
    )
    called = set()
    async with serving(answer=answer) as model:
        monkeypatch.setenv("YIVIDEO_LLM__OPENAI_COMPATIBLE__API_BASE_URL", model.base)
        monkeypatch.setenv("YIVIDEO_LLM__OPENAI_COMPATIBLE__MODEL", "stub")
        monkeypatch.setenv("YIVIDEO_LLM__REQUESTS_PER_MINUTE", "0")
        with running_stack(tmp_path / "run", only=["ffmpeg", "subtitle", "llm"]) as stack:
            async with aiohttp.ClientSession(stack.url) as http:
                for name, body in (("old.srt", FILM.encode()), ("old.mp4", film.read_bytes())):
                    async with http.put(f"/v1/files/films/{name}", data=body) as stored:
                        assert stored.status in (200, 201), await stored.text()
                for command in (call for folder in NODES for call in commands_of(folder)):
                    typed = command.replace(PRINTED, stack.url)
                    said = await asyncio.to_thread(run, typed, tmp_path)
                    task_id = re.search(r'"task_id": ?"([^"]+)"', said)
                    assert task_id is not None, (command, said)
                    async with http.get(f"/v1/tasks/{task_id[1]}", headers={"Prefer": "wait=60"}) as shown:
                        task = await shown.json()
                    assert task["state"] == "completed", (command, task)
                    called.add(task["task_name"])
    assert called == {task.name for node in (llm_node, subtitle_node) for task in node.tasks}
