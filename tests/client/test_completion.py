"""What the shell is told when a word is begun."""

from __future__ import annotations

import asyncio
import os
import sys

import pytest
from aiohttp import web

from tests.client.conftest import ScriptedServer
from tests.conftest import ROOT

pytestmark = pytest.mark.slow  # each word is a process of its own
_MAIN = "import sys; sys.argv = ['yivideo']; from yivideo_client.cli.main import main; main()"


async def completed(words: str, url: str) -> list[str]:
    """What bash is given for the last of some words."""
    environment = {
        **os.environ, "_YIVIDEO_COMPLETE": "complete_bash", "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1), "YIVIDEO_URL": url, "YIVIDEO_API_KEY": "k",
    }  # fmt: skip
    shell = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _MAIN, cwd=ROOT, env=environment,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said, complained = await shell.communicate()
    assert not complained, complained.decode()
    return said.decode().split()


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("yivideo run ffm", ["ffmpeg.crop", "ffmpeg.extract_audio"]),
        ("yivideo types ffmpeg.e", ["ffmpeg.extract_audio"]),
        ("yivideo task get t-2", ["t-2"]),
        ("yivideo task cance", ["cancel"]),
        ("yivideo run nobody", []),
        ("yivideo run ffmpeg.crop --mo", ["--mode"]),
        ("yivideo run ffmpeg.crop film.mp4 --mode f", ["fast"]),
        ("yivideo workflow run film_to_subtitles --fil", ["--film"]),
        ("yivideo file get fi", ["films/", "first.mp4"]),
        ("yivideo workflow run film_to_s", ["film_to_subtitles"]),
        ("yivideo workflow get w-1", ["w-1"]),
    ],
)
async def test_names_are_completed(server: ScriptedServer, words: str, wanted: list[str]) -> None:
    """Types, ids and commands that begin so, and nothing else."""

    async def answer(request: web.Request) -> web.StreamResponse:
        assert request.headers["X-API-Key"] == "k"
        if request.path == "/v1/task-types":
            names = ("ffmpeg.crop", "ffmpeg.extract_audio", "llm.chat")
            schema = {"properties": {"mode": {"enum": ["fast", "slow"]}, "rate": {"type": "integer"}}}
            return web.json_response(
                {
                    "task_types": [
                        {"name": name, "description": "Does it.", "input_schema": schema} for name in names
                    ]
                }
            )
        if request.path.startswith("/v1/files/list"):
            return web.json_response({"prefixes": ["films/"], "files": [{"file_path": "first.mp4"}]})
        if request.path == "/v1/workflows/templates":
            templates = ("film_to_subtitles", "mended_subtitles")
            parameters = {"properties": {"film": {"type": "string"}}}
            return web.json_response(
                {"templates": [{"name": name, "parameters": parameters} for name in templates]}
            )
        if request.path == "/v1/workflows":
            listed = [{"workflow_id": f"w-{n}", "template": None, "state": "running"} for n in range(3)]
            return web.json_response({"workflows": listed})
        return web.json_response(
            {"tasks": [{"task_id": f"t-{n}", "task_name": "a.b", "state": "running"} for n in range(4)]}
        )

    server.handler = answer
    assert await completed(words, server.url) == wanted


async def test_nobody_there_is_no_word() -> None:
    """A shell hears nothing of a server that is away."""
    assert await completed("yivideo run ff", "http://127.0.0.1:9") == []
