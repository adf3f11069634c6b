"""Local files that are none, that have odd names, or lie where they cannot be written: told before anything is sent for nothing."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from typer.testing import CliRunner

from tests.client.conftest import ScriptedServer
from tests.client.test_transfers import Store
from yivideo_client import AsyncClient, StoredFile, Task, errors
from yivideo_client.cli.fields import parse
from yivideo_client.cli.main import app
from yivideo_client.cli.run import Plan, jobs_of
from yivideo_client.digest import path_of_input, sha256_of
from yivideo_client.download import _at_a_time
from yivideo_client.landing import Landing
from yivideo_client.local_file import name_in_store
from yivideo_client.models import TaskType

FILM = TaskType("a.b", "", {"properties": {"film_path": {"type": "string"}}}, {}, ("/film_path",))


@pytest.mark.parametrize("kind", ["folder", "pipe", "device"])
async def test_only_plain_files_are_sent(
    server: ScriptedServer, client: AsyncClient, tmp_path: Path, kind: str
) -> None:
    """A folder, a pipe or a device is refused by its name before a request is made; a pipe that nobody fills is not waited for."""
    source = tmp_path / "source"
    if kind == "folder":
        source.mkdir()
    elif kind == "pipe":
        os.mkfifo(source)
    else:
        source = Path("/dev/null")
    for send in (client.files.upload(source, "x"), client.files.put_once(source, "uploads")):
        with pytest.raises(OSError, match=source.name):
            await asyncio.wait_for(send, 30)
    assert not server.seen


async def test_a_hash_ends_with_its_caller(tmp_path: Path) -> None:
    """Interrupted, a command does not first read the rest of a large file: a terabyte here, of which there is none on the disk."""
    source = tmp_path / "large"
    with source.open("wb") as file:
        file.truncate(1 << 40)
    hashing = asyncio.create_task(sha256_of(source))
    await asyncio.sleep(0)
    hashing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(hashing, 60)


@pytest.mark.parametrize("name", ["x" * 255, "ü" * 127, "a b\n'\"$(c);|*?.mp4", os.fsdecode(b"\xff\xfe.mp4")])
async def test_any_name_that_the_disk_takes(
    server: ScriptedServer, client: AsyncClient, tmp_path: Path, name: str
) -> None:
    """A download has it in the end, and leaves nothing else; also one that leaves no room for the name of its part."""
    server.handler = Store()
    await client.files.download("a", tmp_path / name)
    assert [one.name for one in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("film.mp4", "film.mp4"),
        ("größe.mp4", "größe.mp4"),
        ("a\nb\\c.mp4", "a_b_c.mp4"),
        (os.fsdecode(b"a\xff.mp4"), "a�.mp4"),
    ],
)
def test_an_inputs_name_in_the_store(name: str, stored: str) -> None:
    """What the store takes stays; what it refuses, or is no text, is replaced, so that a task can be run on the file."""
    assert name_in_store(name) == stored
    assert path_of_input("d", name, "uploads", "").endswith(f"/{stored}")
    stored.encode()


async def test_a_target_that_cannot_be(server: ScriptedServer, client: AsyncClient, tmp_path: Path) -> None:
    """A folder of the target's name, or none to put it into, is told before any byte is fetched."""
    server.handler = store = Store()
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError, match="folder"):
        await client.files.download("a", tmp_path / "folder")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        await client.files.download("a", tmp_path / "nowhere" / "a")
    assert store.sent == 0


async def test_no_link_is_followed(server: ScriptedServer, client: AsyncClient, tmp_path: Path) -> None:
    """A link that lies where a part would, as others may put it into a shared folder, does not lead to another file."""
    server.handler = Store()
    precious = tmp_path / "precious"
    precious.write_bytes(b"mine")
    (tmp_path / ".a.part").symlink_to(precious)
    with pytest.raises(OSError, match=r"\.a\.part"):
        await client.files.download("a", tmp_path / "a")
    assert precious.read_bytes() == b"mine"


async def test_one_download_at_a_time_has_a_target(
    server: ScriptedServer, client: AsyncClient, tmp_path: Path
) -> None:
    """A second one of the same target is refused while the first is under way, and does it no harm."""
    store, reached, go = Store(), asyncio.Event(), asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        if request.method == "GET":
            reached.set()
            await go.wait()
        return await store(request)

    server.handler = slow
    first = asyncio.create_task(client.files.download("a", tmp_path / "a"))
    await asyncio.wait_for(reached.wait(), 30)
    with pytest.raises(BlockingIOError, match="under way"):
        await client.files.download("a", tmp_path / "a")
    go.set()
    await first
    assert (tmp_path / "a").read_bytes() == store.content
    await client.files.download("a", tmp_path / "a")  # and then it is free again


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 128 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=128k", "none", str(folder)], check=False, capture_output=True
    )
    if made.returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


async def test_a_full_disk(server: ScriptedServer, client: AsyncClient, small_disk: Path) -> None:
    """It is told as it is, after one request, and nothing has the target's name; room made, the same download goes through."""
    server.handler = store = Store()
    with pytest.raises(OSError, match="No space left"):
        await client.files.download("a", small_disk / "a")
    assert not (small_disk / "a").exists()
    assert [one.method for one in server.seen] == ["HEAD", "GET"]
    subprocess.run(["mount", "-o", "remount,size=2m", str(small_disk)], check=True)
    await client.files.download("a", small_disk / "a")
    assert (small_disk / "a").read_bytes() == store.content


async def test_results_that_cannot_be_fetched(
    server: ScriptedServer, client: AsyncClient, tmp_path: Path
) -> None:
    """One of several is gone: its own error is raised, not a group of errors that no caller knows."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=404)

    server.handler = answer
    task = Task("t", "a.b", "completed", "completed", files=(StoredFile("t/a", 1), StoredFile("t/b", 1)))
    with pytest.raises(errors.NotFound):
        await client.fetch_outputs(task, tmp_path)


@pytest.mark.parametrize("below", ["", "sub/folder"])
def test_a_folder_for_results_is_looked_at_first(tmp_path: Path, below: str) -> None:
    """`-o` that names a file, or leads through one, is told before anything is sent or run."""
    (tmp_path / "out").write_text("")
    plan = Plan("a.b", [], [], folder=tmp_path / "out" / below)
    with pytest.raises(NotADirectoryError, match="out"):
        jobs_of(plan, FILM)
    assert jobs_of(Plan("a.b", [], [], folder=tmp_path / "new" / "er"), FILM)


@pytest.mark.parametrize("path", ["films/", "films/..", "/", "."])
def test_a_path_that_names_no_file(path: str) -> None:
    """`file get` of a folder is a wrong command line, and says how its files are listed."""
    ran = CliRunner().invoke(app, ["--url", "http://127.0.0.1:9", "file", "get", path])
    assert ran.exit_code == 2 and "file ls" in ran.output


def test_a_long_link_is_no_local_file() -> None:
    """Signed links and `data:` are longer than a file's name may be; they are sent as they are."""
    for value in (
        "https://store.example/a?X-Signature=" + "f" * 400,
        "data:audio/wav;base64," + "A" * 100_000,
    ):
        assert parse(FILM, ["--film_path", value]) == {"film_path": value}


class _Work:
    """Segments of which none ends before `free`, and a local file that is waited for all the time, or never."""

    def __init__(self, slow_disk: bool) -> None:
        self.free = asyncio.Event()
        self.at_once = 0
        self.looks = 0
        self.looked = asyncio.Event()
        self._slow_disk = slow_disk

    async def segment(self, number: int) -> None:
        self.at_once += 1
        await self.free.wait()

    def writing_seconds(self) -> dict[int, float]:
        self.looks += 1
        if self.looks == 10:  # twice each time that none has ended
            self.looked.set()
        return dict.fromkeys(range(self.at_once), time.monotonic() if self._slow_disk else 0.0)


@pytest.mark.parametrize("slow_disk", [True, False])
async def test_a_slow_disk_has_no_more_connections(monkeypatch: pytest.MonkeyPatch, slow_disk: bool) -> None:
    """Where the local file is what is waited for, more connections would wait for it too; where the line is, there are more."""
    monkeypatch.setattr("yivideo_client.download._SLOW_SECONDS", 0.02)
    work: Any = _Work(slow_disk)
    fetching = asyncio.create_task(_at_a_time(work, list(range(8)), 4))
    if slow_disk:
        await asyncio.wait_for(work.looked.wait(), 30)
    else:
        async with asyncio.timeout(30):
            while work.at_once < 4:
                await asyncio.sleep(0.005)
    assert work.at_once == (2 if slow_disk else 4)
    work.free.set()
    await fetching


def test_a_turn_at_the_file_is_told(tmp_path: Path) -> None:
    """While another holds the file, the time counts as waiting for the file, also before it ends."""
    turn = threading.Lock()
    with (tmp_path / "a").open("w+b") as file:
        landing = Landing(file.fileno(), 0, 3, lambda count: None, turn=turn)
        with turn:
            writer = threading.Thread(target=landing._write, args=(b"abc",))
            writer.start()
            while not landing.writing_seconds():
                time.sleep(0.001)
        writer.join()
        assert landing.writing_seconds() > 0 and landing.at == 3
        assert hashlib.sha256(file.read()).digest() == hashlib.sha256(b"abc").digest()
