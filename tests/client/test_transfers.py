"""Files over connections that break, from stores that change and lie."""

from __future__ import annotations

import hashlib
import os
import random
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.client.conftest import ScriptedServer, broken_off
from yivideo_client import AsyncClient, Connection, ConnectionFailed, IntegrityError, StoredFile, errors
from yivideo_client.sending import send_checked, send_in_kernel

CONTENT = random.Random(1).randbytes(300_000)


class Store:
    """One file behind HTTP, with ranges; `budget` is how many bytes it sends before it breaks, for each request."""

    def __init__(self, content: bytes = CONTENT, budget: int | None = None) -> None:
        self.content, self.etag, self.budget, self.sent = content, '"e1"', budget, 0

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        size = len(self.content)
        if request.method == "HEAD":
            return web.Response(headers={"ETag": self.etag, "Content-Length": str(size)})
        wanted = request.http_range
        start, end = wanted.start or 0, min(size, wanted.stop or size)
        response = web.StreamResponse(
            status=206 if "Range" in request.headers else 200, headers={"ETag": self.etag}
        )
        response.content_length = end - start
        await response.prepare(request)
        part = self.content[start:end]
        shown = part if self.budget is None else part[: self.budget]
        self.sent += len(shown)
        await response.write(shown)
        if len(shown) < len(part):
            return broken_off(request)
        return response


@pytest.fixture(autouse=True)
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of 64 KiB, so that a small file has several."""
    monkeypatch.setattr("yivideo_client.download.SEGMENT_BYTES", 65_536)
    monkeypatch.setattr("yivideo_client.landing.READ_BYTES", 4096)


@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, 300_000])
async def test_a_download_is_the_file(
    server: ScriptedServer, client: AsyncClient, tmp_path: Path, size: int
) -> None:
    """Any size arrives whole, and nothing else is left in the folder."""
    server.handler = Store(CONTENT[:size])
    told: list[tuple[int, int]] = []
    assert await client.files.download("a", tmp_path / "a", progress=lambda *pair: told.append(pair)) == size
    assert (tmp_path / "a").read_bytes() == CONTENT[:size]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert not size or told[-1] == (size, size)


async def test_broken_answers_are_taken_up_where_they_broke(
    server: ScriptedServer, client: AsyncClient, tmp_path: Path
) -> None:
    """A connection that breaks every 10,000 bytes costs requests, and no byte is fetched twice."""
    server.handler = store = Store(budget=10_000)
    await client.files.download("a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert store.sent == len(CONTENT)


async def test_a_later_run_goes_on(server: ScriptedServer, client: AsyncClient, tmp_path: Path) -> None:
    """What an interrupted download had is not fetched again; nothing has the target's name before it is whole."""
    store = Store()

    async def breaks_behind_two_segments(request: web.Request) -> web.StreamResponse:
        if request.method == "GET" and (request.http_range.start or 0) >= 2 * 65_536:
            return broken_off(request)
        return await store(request)

    server.handler = breaks_behind_two_segments
    with pytest.raises(ConnectionFailed):
        await client.files.download("a", tmp_path / "a", parallel=1)
    assert not (tmp_path / "a").exists() and store.sent == 2 * 65_536
    server.handler = store
    await client.files.download("a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert store.sent == len(CONTENT)


async def test_segments_of_another_version_are_not_mixed(
    server: ScriptedServer, client: AsyncClient, tmp_path: Path
) -> None:
    """A file that was replaced since the interruption is fetched whole; one replaced in the middle is an error."""
    store = Store()

    async def breaks(request: web.Request) -> web.StreamResponse:
        if request.method == "GET" and request.http_range.start:
            return broken_off(request)
        return await store(request)

    server.handler = breaks
    with pytest.raises(ConnectionFailed):
        await client.files.download("a", tmp_path / "a", parallel=1)
    store.content, store.etag = CONTENT[::-1], '"e2"'
    server.handler = store
    await client.files.download("a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT[::-1]

    async def changes(request: web.Request) -> web.StreamResponse:
        if request.method == "GET":
            store.etag = f'"{len(server.seen)}"'
        return await store(request)

    server.handler = changes
    with pytest.raises(IntegrityError, match="replaced"):
        await client.files.download("b", tmp_path / "b")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


async def test_a_wrong_checksum_is_no_result(
    server: ScriptedServer, client: AsyncClient, tmp_path: Path
) -> None:
    """Bytes that are not those of the task's result are thrown away."""
    server.handler = Store()
    right = StoredFile("a", len(CONTENT), sha256=hashlib.sha256(CONTENT).hexdigest())
    await client.files.download(right, tmp_path / "a")
    with pytest.raises(IntegrityError):
        await client.files.download(StoredFile("a", len(CONTENT), sha256="0" * 64), tmp_path / "b")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


async def test_a_missing_file(server: ScriptedServer, client: AsyncClient, tmp_path: Path) -> None:
    """404 without a body, as HEAD is answered, is NotFound, and leaves nothing."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=404)

    server.handler = answer
    with pytest.raises(errors.NotFound, match="FILE_NOT_FOUND: there is no file 'a'"):
        await client.files.download("a", tmp_path / "a")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("crc32", [True, False])
async def test_an_upload_is_checked_and_begun_again(
    server: ScriptedServer, client: AsyncClient, tmp_path: Path, crc32: bool
) -> None:
    """A broken upload is sent whole again; a store that says another checksum is not believed.

    It is asked for a CRC-32 of what it got; one that gives none is believed by its SHA-256.
    """
    source = tmp_path / "film.mp4"
    source.write_bytes(CONTENT * 5)
    lie = False

    async def answer(request: web.Request) -> web.StreamResponse:
        if len(server.seen) == 1:
            await request.content.read(100_000)
            return broken_off(request)
        body = await request.read()
        assert request.content_type == "video/mp4" and request.headers["Content-Length"] == str(len(body))
        assert request.headers["X-Want-Checksum"] == "crc32"
        got = body[:-1] + b"?" if lie else body
        said = {"crc32": f"{zlib.crc32(got):08x}"} if crc32 else {"sha256": hashlib.sha256(got).hexdigest()}
        return web.json_response({"file_path": "x/film.mp4", "size": len(body), "etag": "e", **said})

    server.handler = answer
    stored = await client.files.upload(source, "x/film.mp4")
    assert (stored.path, stored.size) == ("x/film.mp4", 1_500_000)
    assert [request.method for request in server.seen] == ["PUT", "PUT"]
    lie = True
    with pytest.raises(IntegrityError):
        await client.files.upload(source, "x/film.mp4")


async def test_a_local_file_that_is_not_there(client: AsyncClient, tmp_path: Path) -> None:
    """It is the local file that is named, and no connection is blamed."""
    with pytest.raises(FileNotFoundError):
        await client.files.upload(tmp_path / "no", "x")


async def test_an_input_is_sent_once_for_each_key(server: ScriptedServer, tmp_path: Path) -> None:
    """The same bytes have the same path in every run and are not sent again; another key has a path of its own."""
    source = tmp_path / "film.mp4"
    source.write_bytes(CONTENT)
    stored: dict[str, bytes] = {}

    async def answer(request: web.Request) -> web.StreamResponse:
        path = request.path.removeprefix("/v1/files/").removeprefix("download/")
        if request.method == "HEAD":
            found = stored.get(path)
            return web.Response(
                status=200 if found else 404, headers={"Content-Length": str(len(found))} if found else {}
            )
        stored[path] = body = await request.read()
        return web.json_response({"file_path": path, "size": len(body), "sha256": ""})

    server.handler = answer
    paths = []
    for key in ("yiv_a", "yiv_a", "yiv_b"):
        async with AsyncClient(Connection(server.url, key)) as client:
            paths.append((await client.files.put_once(source, "uploads")).path)
    assert paths[0] == paths[1] != paths[2] and set(paths) == set(stored)
    assert [request.method for request in server.seen] == ["HEAD", "PUT", "HEAD", "HEAD", "PUT"]


@pytest.mark.parametrize("parts", [None, True])
async def test_a_file_that_was_damaged_on_its_way_is_not_kept(
    server: ScriptedServer, client: AsyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: bool | None
) -> None:  # fmt: skip
    """Whole or in parts: what came with other bytes is an error and is removed again, and the next run sends it anew."""
    monkeypatch.setattr("yivideo_client.upload.PART_BYTES", 65_536)
    source = tmp_path / "film.mp4"
    source.write_bytes(CONTENT)
    stored: dict[str, bytes] = {}
    damaged: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        path = request.path.removeprefix("/v1/files/").removeprefix("download/")
        if request.method == "HEAD":
            known = {"Content-Length": str(len(stored[path]))} if path in stored else {}
            return web.Response(status=200 if known else 404, headers=known)
        if request.method == "DELETE":
            del stored[path]
            return web.json_response({})
        if path == "compose":
            body = await request.json()
            path, content = body["file_path"], b"".join(stored[one] for one in body["parts"])
            if hashlib.sha256(content).hexdigest() != body["sha256"]:
                fault = {
                    "code": "INVALID_ARGUMENT",
                    "detail": "other bytes",
                    "errors": [{"pointer": "/sha256", "detail": "other"}],
                }
                return web.json_response(fault, status=400)
            for one in body["parts"]:
                del stored[one]
        else:
            content = await request.read()
            if not damaged:
                damaged.append(path)
                content = bytes([content[0] ^ 1]) + content[1:]
        stored[path] = content
        return web.json_response(
            {"file_path": path, "size": len(content), "crc32": f"{zlib.crc32(content):08x}"}
        )

    server.handler = answer
    with pytest.raises(IntegrityError, match="removed again"):
        await client.files.upload(source, "film.mp4", parts=parts)
    assert damaged and not stored
    await client.files.upload(source, "film.mp4", parts=parts)
    assert stored == {"film.mp4": CONTENT}


@pytest.mark.parametrize("digest_known", [False, True])
async def test_a_file_that_becomes_shorter_is_not_tried_again(
    server: ScriptedServer, client: AsyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digest_known: bool
) -> None:  # fmt: skip
    """It is no fault of the server, which is not called away: the file is named at once, after one request."""
    source = tmp_path / "film.mp4"
    source.write_bytes(CONTENT)
    begun: list[Path] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        with suppress(ConnectionError):
            await request.read()
        return web.Response(status=404)

    def sending(*given: Any) -> str:
        begun.append(source)
        os.truncate(source, 1000)
        return (send_in_kernel if digest_known else send_checked)(*given)

    monkeypatch.setattr("yivideo_client.bulk.send_in_kernel", sending)
    monkeypatch.setattr("yivideo_client.bulk.send_checked", sending)
    server.handler = answer
    with pytest.raises(IntegrityError, match=r"film\.mp4 became shorter while it was sent"):
        await (client.files.put_once(source, "x") if digest_known else client.files.upload(source, "x"))
    assert len(begun) == 1


async def test_an_input_that_changes_is_not_kept_under_its_old_name(
    server: ScriptedServer, client: AsyncClient, tmp_path: Path
) -> None:
    """Written to between its hash and its sending, a file is refused and taken away: its path says other bytes than it has."""
    source = tmp_path / "film.mp4"
    source.write_bytes(CONTENT)

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.method == "HEAD":
            source.write_bytes(CONTENT[::-1])
            return web.Response(status=404)
        if request.method == "DELETE":
            return web.json_response({})
        body = await request.read()
        return web.json_response(
            {"file_path": "x", "size": len(body), "sha256": hashlib.sha256(body).hexdigest()}
        )

    server.handler = answer
    with pytest.raises(IntegrityError):
        await client.files.put_once(source, "uploads")
    assert [request.method for request in server.seen] == ["HEAD", "PUT", "DELETE"]
    assert server.seen[1].path == server.seen[2].path
