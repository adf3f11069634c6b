"""The ready-made workflows that people want, through a whole stack on real speech: one request, one stream, one callback."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import unicodedata
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from bench.quality.ocr_films import Style, make
from nodekit.models import model_store
from stack.demo.comparison import word_error_rate
from stack.node_table import read_node_table
from stack.private_files import new_callback_secret
from subtitles.cue import Cue
from subtitles.reading import parse_text
from subtitles.score import character_score
from tests.language_models.minds import speaking, word_by_word
from tests.language_models.model_server import ModelServer, serving
from tests.stories.conftest import RunningStack, running_stack
from tests.stories.test_readme import run, steps
from yivideo_client.callbacks import CallbackReceiver

NODES = ("ffmpeg", "asr", "diarize", "separate", "subtitle", "tts", "ocr")
NEEDED = {name for row in read_node_table() if row.name in NODES for name in row.prefers.models}
SPOKEN = (
    "He began a confused complaint against the wizard who had vanished behind the curtain on the left.",
    "And so, my fellow Americans, ask not what your country can do for you, ask what you can do for your country.",
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(
        not all(map(model_store().has, NEEDED)),
        reason=f"needs `make models names='{' '.join(sorted(NEEDED))}'`",
    ),
]


@dataclass
class Chains:
    """A stack with a client, who is called back, and a language model."""

    stack: RunningStack
    http: aiohttp.ClientSession
    receiver: CallbackReceiver
    callback: str
    model: ModelServer
    film: str

    async def run(self, template: str, workflow_id: str, **parameters: Any) -> dict[str, Any]:
        """One request, one stream, one callback; gives the workflow as it ended. `film` may be another one."""
        body = {
            "workflow_id": workflow_id,
            "template": template,
            "parameters": {"film": self.film} | parameters,
            "callback": self.callback,
        }
        async with self.http.post("/v1/workflows", json=body) as answer:
            assert answer.status == 202, await answer.text()
        await self.follow(workflow_id)
        told = await asyncio.wait_for(self.receiver.next(), 20)
        assert (told["workflow_id"], told["status"]) == (workflow_id, "completed"), told
        return await self.shown(workflow_id)

    async def follow(self, workflow_id: str) -> None:
        """Read the one stream to its end."""
        async with self.http.get(
            f"/v1/workflows/{workflow_id}/events", timeout=aiohttp.ClientTimeout(240)
        ) as stream:
            assert stream.status == 200
            async for _ in stream.content:
                pass

    async def shown(self, workflow_id: str) -> dict[str, Any]:
        """Show a workflow that has completed."""
        async with self.http.get(f"/v1/workflows/{workflow_id}") as answer:
            found: dict[str, Any] = await answer.json()
        assert found["state"] == "completed", [
            (task["key"], task["state"], task["error"])
            for task in found["tasks"]
            if task["state"] != "completed"
        ]
        return found

    async def upload(self, path: Path) -> str:
        """Upload a film; gives its object's path."""
        with path.open("rb") as body:
            async with self.http.put(f"/v1/files/films/{path.name}", data=body) as answer:
                assert answer.status in (200, 201), await answer.text()
                object_path: str = (await answer.json())["file_path"]
                return object_path

    async def download(self, path: str, target: Path) -> Path:
        """Download a file."""
        async with self.http.get(f"/v1/files/download/{path}") as answer:
            assert answer.status == 200
            target.write_bytes(await answer.read())
        return target


def outputs(workflow: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what each task gave, by key."""
    return {task["key"]: task["output"] for task in workflow["tasks"]}


@pytest.fixture(scope="module")
def spoken_film(shared_media: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 s of a cartoon with its music, low, over which two people speak."""
    path = tmp_path_factory.mktemp("film") / "spoken.mp4"
    graph = (
        "[1:a]aresample=48000,adelay=1500:all=1[a];[2:a]aresample=48000,aformat=channel_layouts=mono,adelay=8000:all=1[b];"
        "[0:a]aresample=48000,aformat=channel_layouts=mono,volume=-20dB[m];[m][a][b]amix=inputs=3:normalize=0,apad[out]"
    )
    subprocess.run(
        [
            *("ffmpeg", "-v", "error", "-y", "-i", str(shared_media / "video/big_buck_bunny_0_30.webm")),
            *(
                "-i",
                str(shared_media / "asr/librispeech_61-70968-0000.flac"),
                "-i",
                str(shared_media / "asr/jfk.flac"),
            ),
            *("-filter_complex", graph, "-map", "0:v", "-map", "[out]", "-t", "20", "-vf", "scale=640:-2"),
            *("-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac", str(path)),
        ],
        check=True,
        timeout=100,
    )
    return path


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chains(spoken_film: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Chains]:
    """One stack for all chains, with a language model of the tests' own."""
    folder = tmp_path_factory.mktemp("chains")
    with pytest.MonkeyPatch.context() as patched:
        async with serving(answer=speaking(word_by_word)) as model:
            patched.setenv("YIVIDEO_LLM__OPENAI_COMPATIBLE__API_BASE_URL", model.base)
            patched.setenv("YIVIDEO_LLM__OPENAI_COMPATIBLE__MODEL", "stub")
            secret = new_callback_secret()
            receiver = CallbackReceiver(secret)
            async with receiver.listening() as address:
                settings: dict[str, Any] = {
                    "only": list(NODES),
                    "allow_addresses": [address],
                    "callback_secret": secret,
                }
                with running_stack(folder / "run", **settings) as stack:
                    async with aiohttp.ClientSession(stack.url) as http:
                        found = Chains(stack, http, receiver, f"http://{address}/callback", model, "")
                        found.film = await found.upload(spoken_film)
                        yield found


async def test_a_film_becomes_subtitles_and_goes_on_from_any_stage(chains: Chains, tmp_path: Path) -> None:
    """What is said is read in the end, by two speakers; a later stage runs again without the earlier ones."""
    made = await chains.run("film_to_subtitles", "film", formats=["srt", "vtt"])
    given = outputs(made)
    path = await chains.download(given["fixed"]["fixed_subtitle_path"], tmp_path / "film.srt")
    cues = parse_text(path.read_text(encoding="utf-8"))
    assert word_error_rate(" ".join(SPOKEN), " ".join(cue.plain for cue in cues)) <= 0.15
    assert given["files"]["subtitle_files"]
    assert given["speakers"]["total_speakers"] == 2
    async with chains.http.post("/v1/workflows/film/retry", json={"from_tasks": ["files"]}) as answer:
        assert answer.status == 202, await answer.text()
    await chains.follow("film")
    assert (await asyncio.wait_for(chains.receiver.next(), 20))["status"] == "completed"
    again = await chains.shown("film")
    attempts = {task["key"]: task["output"] for task in again["tasks"]}
    assert attempts["text"] == given["text"]
    twice = await chains.download(attempts["fixed"]["fixed_subtitle_path"], tmp_path / "again.srt")
    assert twice.read_text() == path.read_text()


async def test_the_readmes_films(chains: Chains, spoken_film: Path, tmp_path: Path) -> None:
    """Each command works as it is printed, in order."""
    preamble, *parts = steps(3)
    said = {}
    for part in parts:
        title, _, commands = part.partition("\n")
        whole = f"{preamble}\n{commands}"
        said[title.split()[0].strip(".,:")] = await asyncio.to_thread(
            run, whole, tmp_path, seconds=120, YIVIDEO=chains.stack.url, FILM=str(spoken_film)
        )
    assert "event: completed" in said["One"]
    assert "fixed_subtitle_path" in said["What"]
    for name in ("In", "Spoken", "Subtitles"):
        assert '"tasks_total"' in said[name], said[name]
    async with chains.http.delete("/v1/workflows/german") as answer:
        assert answer.status in (200, 202, 400)
    async with chains.http.delete("/v1/workflows/dubbed") as answer:
        assert answer.status in (200, 202, 400)
    await chains.follow("german")
    await chains.follow("dubbed")


async def test_a_film_becomes_subtitles_in_another_language(chains: Chains, tmp_path: Path) -> None:
    """Each cue has its translation, at its own time; the model has seen no times."""
    made = await chains.run(
        "film_to_translated_subtitles", "translated", target_language="es", formats=["srt"]
    )
    given = outputs(made)
    original = await chains.download(given["files"]["subtitle_path"], tmp_path / "original.srt")
    translated = await chains.download(given["written"]["subtitle_path"], tmp_path / "es.srt")
    before, after = (parse_text(path.read_text(encoding="utf-8")) for path in (original, translated))
    assert [(cue.start, cue.end) for cue in before] == [(cue.start, cue.end) for cue in after]
    text = " ".join(cue.plain for cue in after)
    assert "confusa queja" in text and "su país" in text
    assert given["translated"]["untranslated"] == 0
    assert not any(
        "-->" in message["content"] for body in chains.model.requests for message in body["messages"]
    )


async def test_a_film_is_dubbed(chains: Chains, tmp_path: Path) -> None:
    """Every line is spoken in its time, each speaker has a voice, the picture is the film's own, and the whole is at -16 LUFS."""
    # Spanish is pronounced by the program espeak-ng: without it the film is spoken again in its own language.
    spanish = {"target_language": "es"} if shutil.which("espeak-ng") else {}
    made = await chains.run("film_to_dubbed_film", "spoken-again", **spanish)
    given = outputs(made)
    spoken = given["spoken"]
    assert spoken["overrun_p95_ms"] <= 80 and len(set(spoken["voices"].values())) == 2
    assert abs(given["dubbed"]["loudness_lufs"] + 16) <= 0.5
    assert given["dubbed"]["duration"] == pytest.approx(20, abs=0.05)
    film = await chains.download(given["dubbed"]["video_path"], tmp_path / "dubbed.mp4")
    probed = subprocess.run(
        ["ffprobe", "-v", "error", "-show_entries", "stream=codec_type,codec_name:stream_tags=language", "-of", "json", str(film)],
        check=True, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    streams = json.loads(probed.stdout)["streams"]
    assert [one["codec_type"] for one in streams] == ["video", "audio"]
    assert streams[1]["tags"]["language"] == ("spa" if spanish else "eng")


def letters(text: str) -> str:
    """Return a text's letters without their accents, which readers of pictures may miss."""
    bare = unicodedata.normalize("NFKD", text.casefold())
    return "".join(character for character in bare if character.isalpha())


async def test_burned_subtitles_become_a_film_with_new_ones(chains: Chains, tmp_path: Path) -> None:
    """What stood in the picture is read; in the new film its translation is read at the same times, and nothing of the old text."""
    old = (
        "He began a confused complaint",
        "against the wizard on the left",
        "ask what your country can do",
    )
    new = (
        "Él empezó una confusa queja",
        "contra el mago a el izquierda",
        "pregunten qué su país puede hacer",
    )
    style = Style("burned", old, "sintel_5s.mp4", 360, 22, shown_frames=60, seconds=10)
    burned = make(style, tmp_path)
    film = await chains.upload(burned.path)

    async def read(workflow_id: str, path: str) -> list[Cue]:
        given = outputs(await chains.run("burned_subtitles_to_srt", workflow_id, film=path, language="en"))
        srt = await chains.download(given["fixed"]["fixed_subtitle_path"], tmp_path / f"{workflow_id}.srt")
        return parse_text(srt.read_text(encoding="utf-8"))

    before = await read("burned-read", film)
    assert [cue.plain for cue in before] == list(old)
    made = outputs(
        await chains.run(
            "burned_subtitles_replaced", "burned-anew", film=film, language="en", target_language="es"
        )
    )
    assert made["drawn"]["covered_areas"] == 1 and made["translated"]["untranslated"] == 0
    assert made["drawn"]["duration"] == pytest.approx(10, abs=0.02)
    after = await read("burned-again", made["drawn"]["video_path"])
    assert [cue.start for cue in after] == pytest.approx([one.start for one in burned.truth], abs=0.1)
    for cue, wanted in zip(after, new, strict=True):
        assert character_score(letters(wanted), letters(cue.plain)).rate <= 0.1, cue
