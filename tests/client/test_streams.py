"""Files that come through pipes and go into them: in order, checked, and without replacing what is no plain file."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any

import pytest
from aiohttp import web

from tests.client.conftest import ScriptedServer, broken_off
from tests.client.test_transfers import CONTENT, Store
from yivideo_client import AsyncClient, IntegrityError, StoredFile
from yivideo_client.cli.file_commands import opened_source
from yivideo_client.sync import Client

SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Reader(threading.Thread):
    """Reads a pipe to its end."""

    def __init__(self, source: IO[bytes]) -> None:
        super().__init__(daemon=True)
        self.source, self.content = source, b""
        self.start()

    def run(self) -> None:
        self.content = self.source.read()


def pipe() -> tuple[IO[bytes], IO[bytes]]:
    """Return what is read of a pipe, and what is written to it."""
    out, into = os.pipe()
    return os.fdopen(out, "rb"), os.fdopen(into, "wb", buffering=0)


async def test_a_file_goes_into_a_pipe_over_broken_connections(
    server: ScriptedServer, client: AsyncClient
) -> None:
    """Each byte is written once and in order, however often the answer breaks; a wrong checksum is told."""
    server.handler = Store(budget=40_000)
    for sha256, good in ((SHA256, True), ("0" * 64, False)):
        out, into = pipe()
        reader = Reader(out)
        named = StoredFile("a", len(CONTENT), sha256=sha256)
        with into:
            if good:
                assert await client.files.download_to(named, into) == len(CONTENT)
            else:
                with pytest.raises(IntegrityError):
                    await client.files.download_to(named, into)
        await asyncio.to_thread(reader.join, 10)
        out.close()
        assert reader.content == CONTENT


async def test_who_reads_no_more_ends_it(server: ScriptedServer, client: AsyncClient) -> None:
    """A reader that has gone is no fault of the connection: nothing is asked for again."""
    server.handler = Store(CONTENT * 10)
    out, into = pipe()
    out.close()
    with into, pytest.raises(BrokenPipeError):
        await client.files.download_to("a", into)
    assert [one.method for one in server.seen] == ["HEAD", "GET"]


async def test_a_reader_that_stands_still_does_not_keep_a_cancelled_download(
    server: ScriptedServer, client: AsyncClient
) -> None:
    """Ctrl-C works while nobody takes what was written."""
    server.handler = Store(CONTENT * 10)
    out, into = pipe()
    with out, into:
        download = asyncio.create_task(client.files.download_to("a", into))
        await asyncio.to_thread(out.read, 1)
        download.cancel()
        async with asyncio.timeout(10):
            await asyncio.wait({download})
    assert download.cancelled()


async def test_what_is_no_plain_file_is_written_and_stays(
    server: ScriptedServer, client: AsyncClient, tmp_path: Path
) -> None:
    """A pipe of the file system, a device and a link are what they were, and nothing lies beside them."""
    server.handler = Store()
    os.mkfifo(tmp_path / "fifo")
    reading = asyncio.get_running_loop().run_in_executor(None, (tmp_path / "fifo").read_bytes)
    await client.files.download("a", tmp_path / "fifo")
    assert await reading == CONTENT
    (tmp_path / "null").symlink_to("/dev/null")
    await client.files.download("a", tmp_path / "null")
    (tmp_path / "there").write_bytes(b"old")
    (tmp_path / "link").symlink_to("there")
    await client.files.download("a", tmp_path / "link")
    assert (tmp_path / "fifo").is_fifo() and (tmp_path / "null").is_char_device()
    assert (tmp_path / "link").is_symlink() and (tmp_path / "there").read_bytes() == CONTENT
    assert {path.name for path in tmp_path.iterdir()} == {"fifo", "null", "there", "link"}


@pytest.mark.parametrize("target", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link"])
async def test_an_open_file_is_written_where_it_stands(
    server: ScriptedServer, tmp_path: Path, target: str
) -> None:
    """Standard output that goes to a plain file gets the bytes behind what it has; its entry in /dev is not replaced."""
    server.handler = Store()
    if target == "link":
        target = str(tmp_path / "link")
        Path(target).symlink_to("/dev/stdout")
    program = (
        "import sys; from pathlib import Path; from yivideo_client import Client\n"
        "print('before', flush=True)\n"
        "with Client(sys.argv[1]) as client: client.files.download('a', Path(sys.argv[2]))\n"
        "print('behind')"
    )
    with (tmp_path / "out").open("wb") as out:
        ended = await asyncio.to_thread(
            subprocess.run, [sys.executable, "-c", program, server.url, target], stdout=out, check=True
        )
    assert ended.returncode == 0
    assert (tmp_path / "out").read_bytes() == b"before\n" + CONTENT + b"behind\n"
    assert Path("/dev/stdout").is_symlink()


class Parts:
    """A store that keeps what is put, and makes files of parts."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.breaks = 0
        """Answers that are broken off first."""
        self.damages = 0
        """Files that come with another first byte."""

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        path = request.path.removeprefix("/v1/files/").removeprefix("download/")
        if self.breaks:
            self.breaks -= 1
            return broken_off(request)
        if request.method == "DELETE":
            return web.json_response({}, status=200 if self.files.pop(path, None) is not None else 404)
        if path == "compose":
            body = await request.json()
            path, content = body["file_path"], b"".join(self.files.pop(one) for one in body["parts"])
            assert body["sha256"] == hashlib.sha256(content).hexdigest() and body["size"] == len(content)
        else:
            content = await request.read()
            if self.damages:
                self.damages -= 1
                content = bytes([content[0] ^ 1]) + content[1:]
        if path == "refused":
            return web.json_response({"code": "FILE_EXISTS", "detail": "it is there"}, status=409)
        self.files[path] = content
        return web.json_response(
            {"file_path": path, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        )


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 64 KiB."""
    monkeypatch.setattr("yivideo_client.piped.PART_BYTES", 65_536)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("size", [1, 65_535, 65_536, 131_072, 300_000])
async def test_a_stream_is_stored_whatever_its_length(
    server: ScriptedServer, client: AsyncClient, size: int
) -> None:
    """Nobody says how long it is: it comes in one request or in parts, each sent again when that breaks, and no part is left."""
    server.handler = store = Parts()
    store.breaks = 1
    out, into = pipe()
    with out:
        writer = threading.Thread(target=lambda: (into.write(CONTENT[:size]), into.close()))
        writer.start()
        told: list[int] = []
        stored = await client.files.upload_stream(
            out, "x/film.mp4", progress=lambda done, _: told.append(done)
        )
        writer.join(10)
    assert stored.size == size and store.files == {"x/film.mp4": CONTENT[:size]}
    assert told == sorted(told) and told[-1] == size


@pytest.mark.usefixtures("small_blocks")
async def test_a_stream_that_is_refused_leaves_no_part(server: ScriptedServer, client: AsyncClient) -> None:
    """What nobody will ask for again does not stay in the store."""
    server.handler = store = Parts()
    with pytest.raises(Exception, match="FILE_EXISTS"):
        await client.files.upload_stream(io.BytesIO(CONTENT), "refused", only_new=True)
    assert not store.files


@pytest.mark.usefixtures("small_blocks")
async def test_a_stream_in_which_nothing_comes_can_be_left(
    server: ScriptedServer, client: AsyncClient
) -> None:
    """Ctrl-C works while the other side of the pipe says nothing, and takes the parts away that were sent."""
    server.handler = store = Parts()
    out, into = pipe()
    with out, into:
        into.write(CONTENT[:65_536])
        upload = asyncio.create_task(client.files.upload_stream(out, "x"))
        async with asyncio.timeout(10):
            while not store.files:
                await asyncio.sleep(0.01)
            upload.cancel()
            await asyncio.wait({upload})
    assert upload.cancelled() and not store.files


@pytest.mark.usefixtures("small_blocks")
async def test_what_is_kept_of_a_stream_goes_with_the_process(
    server: ScriptedServer, client: AsyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing lies in the folder for temporary files while a block is sent, so a process that is killed leaves nothing."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    store, lying = Parts(), list[str]()

    async def answer(request: web.Request) -> web.StreamResponse:
        lying.extend(path.name for path in tmp_path.iterdir())
        return await store(request)

    server.handler = answer
    await client.files.upload_stream(io.BytesIO(CONTENT), "x")
    assert store.files == {"x": CONTENT} and not lying


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("size", [1000, 300_000])
async def test_a_stream_that_was_damaged_on_its_way_leaves_nothing(
    server: ScriptedServer, client: AsyncClient, size: int
) -> None:
    """A block or a part that came with other bytes is an error, and neither it nor what came before stays in the store."""
    server.handler = store = Parts()
    store.damages = 1
    with pytest.raises(IntegrityError, match=r"^x came with other bytes"):
        await client.files.upload_stream(io.BytesIO(CONTENT[:size]), "x")
    assert not store.files


@pytest.mark.parametrize("way", ["put", "get"])
async def test_a_pipe_that_nobody_opens_can_be_left(
    client: AsyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """Ctrl-C ends whoever waits for the other side of a named pipe, and nothing stays open or waits on."""
    path, begun, opens = tmp_path / "pipe", threading.Event(), os.open
    os.mkfifo(path)

    def told(opened: Any, flags: int, *more: int) -> int:
        if opened == path:
            begun.set()
        return opens(opened, flags, *more)

    async def put() -> None:
        async with opened_source(str(path)) as stream:
            await client.files.upload_stream(stream, "x")

    monkeypatch.setattr("os.open", told)
    work = asyncio.create_task(put() if way == "put" else client.files.download("x", path))
    assert await asyncio.to_thread(begun.wait, 10)
    work.cancel()
    await asyncio.wait({work}, timeout=10)
    assert work.cancelled()
    assert path not in {one.resolve() for one in Path("/proc/self/fd").iterdir()}


async def test_nothing_is_not_stored(server: ScriptedServer, client: AsyncClient, tmp_path: Path) -> None:
    """An empty file, or a stream that ends at once, is refused by its name before anything is sent: the store takes none."""
    (tmp_path / "empty").touch()
    for sending in (
        client.files.upload(tmp_path / "empty", "x"),
        client.files.put_once(tmp_path / "empty", "uploads"),
        client.files.upload_stream(io.BytesIO(), "x"),
    ):
        with pytest.raises(OSError, match="the file is empty"):
            await sending
    assert not server.seen


async def test_code_that_does_not_await_has_the_same(server: ScriptedServer) -> None:
    """`Client` sends and takes streams."""
    store: Any = Parts()
    server.handler = store

    def both() -> None:
        with Client(server.url) as client:
            client.files.upload_stream(io.BytesIO(CONTENT), "x")
            server.handler = Store(store.files["x"])
            with Path(os.devnull).open("wb") as stream:
                assert client.files.download_to("x", stream) == len(CONTENT)

    await asyncio.to_thread(both)
