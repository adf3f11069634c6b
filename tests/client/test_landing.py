"""Where a download's bytes land: in the kernel where that can, by copies where not, and over as many connections as help."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import os
import random
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from aiohttp import web

from tests.client.conftest import ScriptedServer
from yivideo_client import AsyncClient
from yivideo_client.landing import READ_BYTES, Landing, Overlong
from yivideo_client.tries import Broken

CONTENT = random.Random(7).randbytes(3 * READ_BYTES + 4567)


class _Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[: len(CONTENT) // 2] if self.path == "/cut" else CONTENT)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A plain HTTP server in threads."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def _fetched(address: str, landing: Landing, path: str = "/") -> None:
    connection = http.client.HTTPConnection(address, timeout=10)
    try:
        connection.request("GET", path)
        landing.fill(connection.getresponse(), plain=True)
    finally:
        connection.close()


@pytest.mark.parametrize("in_kernel", [True, False])
def test_all_bytes_land_at_their_place(address: str, tmp_path: Path, in_kernel: bool) -> None:
    """By the kernel or by copies: the range has the bytes, what lies before it is untouched, and each is told once."""
    target = tmp_path / "a"
    target.write_bytes(b"before")
    told: list[int] = []
    with target.open("r+b") as file:
        landing = Landing(file.fileno(), 6, 6 + len(CONTENT), told.append, in_kernel)
        _fetched(address, landing)
    assert target.read_bytes() == b"before" + CONTENT
    assert landing.at == landing.end and sum(told) == len(CONTENT) and landing.in_kernel is in_kernel


def test_a_file_that_the_kernel_does_not_splice_into(address: str, tmp_path: Path) -> None:
    """Files open for appending are refused by `splice` when bytes are in the pipe already: none of them is lost."""
    target = tmp_path / "a"
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        landing = Landing(descriptor, 0, len(CONTENT), lambda count: None)
        _fetched(address, landing)
    finally:
        os.close(descriptor)
    assert target.read_bytes() == CONTENT
    assert not landing.in_kernel


@pytest.mark.parametrize("in_kernel", [True, False])
def test_an_answer_that_ends_with_its_head(tmp_path: Path, in_kernel: bool) -> None:
    """A gateway that is killed sends no byte behind the head, or few: that is Broken like any other end."""
    for piece in (b"", b"abc"):
        with socket.create_server(("127.0.0.1", 0)) as listening:

            def answer(said: bytes) -> None:
                taken, _ = listening.accept()
                with taken:
                    taken.recv(65_536)
                    taken.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + said)

            thread = threading.Thread(target=answer, args=(piece,))
            thread.start()
            with (tmp_path / "a").open("w+b") as file:
                landing = Landing(file.fileno(), 0, 100_000, lambda count: None, in_kernel)
                with pytest.raises(Broken, match="early"):
                    _fetched(f"127.0.0.1:{listening.getsockname()[1]}", landing)
                assert landing.at == len(piece)
            thread.join()


@pytest.mark.parametrize("in_kernel", [True, False])
def test_an_answer_that_ends_early(address: str, tmp_path: Path, in_kernel: bool) -> None:
    """It is Broken, and the place says how far it came."""
    with (tmp_path / "a").open("w+b") as file:
        landing = Landing(file.fileno(), 0, len(CONTENT), lambda count: None, in_kernel)
        with pytest.raises(Broken, match="early"):
            _fetched(address, landing, "/cut")
        assert landing.at == len(CONTENT) // 2
        assert file.read() == CONTENT[: landing.at]


def test_more_than_was_asked_for(address: str, tmp_path: Path) -> None:
    """Nothing is written behind the range."""
    with (tmp_path / "a").open("w+b") as file:
        landing = Landing(file.fileno(), 0, READ_BYTES, lambda count: None)
        with pytest.raises(Overlong):
            _fetched(address, landing)
        assert os.fstat(file.fileno()).st_size <= READ_BYTES


async def test_a_full_disk_is_told_as_it_is(server: ScriptedServer, client: AsyncClient) -> None:
    """It is no fault of the connection: the disk's own error comes out, and nothing is fetched again."""
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(body=CONTENT)

    server.handler = answer
    descriptor = os.open("/dev/full", os.O_WRONLY)
    try:
        landing = Landing(descriptor, 0, len(CONTENT), lambda count: None)
        with pytest.raises(OSError, match="No space left"):
            await asyncio.to_thread(_fetched, urlsplit(server.url).netloc, landing)
    finally:
        os.close(descriptor)


async def test_a_slow_line_has_as_many_connections_as_it_may(
    server: ScriptedServer, client: AsyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two at first; while none of their segments ends, another is begun, and no more than were allowed."""
    monkeypatch.setattr("yivideo_client.download.SEGMENT_BYTES", 65_536)
    content, under_way, most = CONTENT[: 20 * 65_536], 0, 0
    four = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal under_way, most
        if request.method == "HEAD":
            return web.Response(headers={"Content-Length": str(len(content))})
        under_way += 1
        most = max(most, under_way)
        if under_way == 4:
            four.set()
        await four.wait()
        under_way -= 1
        return web.Response(status=206, body=content[request.http_range])

    server.handler = answer
    async with asyncio.timeout(30):
        await client.files.download("a", tmp_path / "a", parallel=4)
    assert hashlib.sha256((tmp_path / "a").read_bytes()).digest() == hashlib.sha256(content).digest()
    assert most == 4
