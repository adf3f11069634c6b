"""OpenAI's audio endpoints through a whole stack: real scheduler, real filestore, real gateway, two small nodes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.stories.conftest import RunningStack, running_stack

LINES = "good morning\nladies and gentlemen"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack whose nodes hear and speak."""
    nodes = [
        {"name": "faster_whisper", "module": "tests.gateway.openai.small_whisper"},
        {"name": "indextts", "module": "tests.gateway.openai.small_voice"},
    ]
    with running_stack(tmp_path_factory.mktemp("openai") / "run", nodes=nodes, only=["ffmpeg"]) as running:
        yield running


@pytest.fixture
async def http(stack: RunningStack) -> AsyncIterator[aiohttp.ClientSession]:
    """A client that sends a credential as OpenAI's does."""
    async with aiohttp.ClientSession(stack.url, headers={"Authorization": "Bearer sk-any"}) as session:
        yield session


def form(text: str = LINES, **fields: str) -> aiohttp.FormData:
    """Return a form with the file in front, as some clients send it."""
    made = aiohttp.FormData()
    made.add_field("file", text.encode(), filename="../a strange näme.mp3", content_type="audio/mpeg")
    for name, value in {"model": "whisper-1", **fields}.items():
        made.add_field(name.replace("__", "[]"), value)
    return made


async def left(http: aiohttp.ClientSession) -> tuple[int, int]:
    """Count the tasks and files that are there."""
    async with http.get("/v1/tasks") as response:
        tasks = len((await response.json())["tasks"])
    async with http.get("/v1/files/list") as response:
        return tasks, (await response.json())["total_count"]


async def nothing_left(http: aiohttp.ClientSession) -> None:
    """Wait until nothing is."""
    async with asyncio.timeout(20):
        while await left(http) != (0, 0):
            await asyncio.sleep(0.05)


async def test_the_text_comes_in_every_form(http: aiohttp.ClientSession) -> None:
    """json, text, verbose_json with segments or words, and the files that the node writes."""
    path = "/v1/audio/transcriptions"
    async with http.post(path, data=form()) as response:
        assert (response.status, await response.json()) == (200, {"text": LINES.replace("\n", " ")})
    async with http.post(path, data=form(response_format="text", prompt="> ")) as response:
        assert (response.content_type, await response.text()) == (
            "text/plain",
            "> good morning > ladies and gentlemen\n",
        )
    words = form(response_format="verbose_json", language="de", timestamp_granularities__="word")
    async with http.post(path, data=words) as response:
        body = await response.json()
    assert (body["language"], body["duration"], "segments" in body) == ("de", 2.0, False)
    assert body["words"][1] == {"word": "ladies and gentlemen", "start": 1, "end": 2}
    async with http.post(path, data=form(response_format="verbose_json")) as response:
        assert [row["text"] for row in (await response.json())["segments"]] == LINES.split("\n")
    async with http.post("/v1/audio/translations", data=form(response_format="vtt")) as response:
        assert (response.content_type, await response.text()) == ("text/vtt", "vtt: translate\n")
    await nothing_left(http)


async def test_a_stream_has_all_of_the_text(http: aiohttp.ClientSession) -> None:
    """Deltas come in order and make up the text, which the last event has whole."""
    async with http.post("/v1/audio/transcriptions", data=form(stream="true")) as response:
        assert response.content_type == "text/event-stream"
        told = [
            json.loads(line[6:]) for line in (await response.text()).split("\n") if line.startswith("data: ")
        ]
    whole = LINES.replace("\n", " ")
    assert told[-1] == {"type": "transcript.text.done", "text": whole}
    assert "".join(event["delta"] for event in told[:-1]) == whole
    async with http.post("/v1/audio/transcriptions", data=form("noise", stream="true")) as response:
        (failed,) = [line for line in (await response.text()).split("\n") if line.startswith("data: ")]
    assert json.loads(failed[6:])["error"]["param"] == "file"


@pytest.mark.parametrize(
    ("data", "status", "code", "param"),
    [
        (form(""), 400, "invalid_argument", "file"),
        (form("noise"), 400, "invalid_argument", "file"),
        (form(model="nobody-has-this"), 404, "model_not_found", "model"),
        (form(response_format="pdf"), 400, "invalid_argument", "response_format"),
        (form(surprise="1"), 400, "invalid_argument", "surprise"),
        (form(temperature="7"), 400, "invalid_argument", "temperature"),
    ],
)
async def test_refusals_name_the_parameter(
    http: aiohttp.ClientSession, data: Any, status: int, code: str, param: str
) -> None:
    """Whoever refuses, the gateway or the node: OpenAI's body with the client's own name of the field, and nothing stays."""
    async with http.post("/v1/audio/transcriptions", data=data) as response:
        error = (await response.json())["error"]
        assert (response.status, error["code"], error["param"]) == (status, code, param)
        assert error["type"] == "invalid_request_error" and error["message"]
    await nothing_left(http)


async def test_a_client_that_leaves_ends_the_work(http: aiohttp.ClientSession) -> None:
    """Its task is stopped and removed, the recording too."""
    asking = asyncio.create_task(http.post("/v1/audio/transcriptions", data=form("hello\nwait")))
    async with asyncio.timeout(20):
        while (await left(http))[0] == 0:
            await asyncio.sleep(0.05)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await nothing_left(http)


@pytest.mark.parametrize(
    ("wanted", "media_type"),
    [
        ("mp3", "audio/mpeg"),
        ("opus", "audio/ogg"),
        ("aac", "audio/mp4"),
        ("flac", "audio/flac"),
        ("pcm", "audio/pcm"),
    ],
)
async def test_the_audio_is_the_answer(http: aiohttp.ClientSession, wanted: str, media_type: str) -> None:
    """Bytes of the file, of pcm those of the samples alone; a voice of OpenAI's is the node's default, another goes through."""
    body = {"model": "tts-1", "voice": "alloy", "input": "hello", "speed": 1.5, "response_format": wanted}
    async with http.post("/v1/audio/speech", json=body) as response:
        assert (response.status, response.content_type) == (200, media_type)
        assert await response.read() == b"|1.5|hello"
    async with http.post("/v1/audio/speech", json={**body, "voice": "af_heart"}) as response:
        assert await response.read() == b"af_heart|1.5|hello"
    await nothing_left(http)


async def test_models_are_those_of_running_nodes(http: aiohttp.ClientSession) -> None:
    """Each name can be asked for; an unknown one is refused by list and speech alike."""
    async with http.get("/v1/models") as response:
        assert {"whisper-1", "tts-1"} <= {model["id"] for model in (await response.json())["data"]}
    async with http.get("/v1/models/tts-1") as response:
        assert (await response.json())["owned_by"] == "indextts"
    async with http.get("/v1/models/none") as response:
        assert (response.status, (await response.json())["error"]["code"]) == (404, "model_not_found")
    async with http.post(
        "/v1/audio/speech", json={"model": "none", "voice": "alloy", "input": "a"}
    ) as response:
        assert (response.status, (await response.json())["error"]["code"]) == (404, "model_not_found")


def test_files_are_named_apart_from_folders(tmp_path: Path) -> None:
    """A client's file name never leads out of its task's folder."""
    from gateway.openai.audio_form import _file_name

    assert [_file_name(name) for name in ("../../etc/passwd", "a b.mp3", None, "", "..", "é.wav")] == [
        "passwd", "a_b.mp3", "audio", "audio", "audio", "_.wav",
    ]  # fmt: skip
