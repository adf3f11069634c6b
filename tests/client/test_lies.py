"""Servers that are another kind of server, or say of a file what is not so: each has a clear end, and no file that is none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.client.conftest import QUICK, ScriptedServer
from yivideo_client import AsyncClient, Connection, ConnectionFailed, UnexpectedAnswer
from yivideo_client.cli.failures import exit_code

CONTENT = bytes(range(256)) * 1024


@asynccontextmanager
async def saying(head: bytes) -> AsyncIterator[AsyncClient]:
    """A client of a server that answers everything with the same bytes."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with AsyncClient(Connection(f"http://127.0.0.1:{port}"), backoff=QUICK) as client:
            yield client


@pytest.mark.parametrize(
    "told", [b"", b"Content-Length: -5\r\n", b"Content-Length: many\r\n", b"Content-Length: 1e3\r\n"]
)
async def test_a_file_without_a_length_is_not_an_empty_one(tmp_path: Path, told: bytes) -> None:
    """A head that does not say how long the file is, or not in figures, ends the download; nothing has the target's name."""
    async with saying(b"HTTP/1.1 200 OK\r\n" + told + b"Connection: close\r\n\r\n") as client:
        with pytest.raises(ConnectionFailed, match="length of a file"):
            await client.files.download("a", tmp_path / "a")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "said", [b"SSH-2.0-OpenSSH_9.2\r\n\r\n", b"", b"\x00\xff" * 2000, b"HTTP/1.1 abc\r\n\r\n"]
)
async def test_what_speaks_no_http(tmp_path: Path, said: bytes) -> None:
    """Another kind of server behind the port is told as one that cannot be reached."""
    async with saying(said) as client:
        with pytest.raises(ConnectionFailed):
            await client.files.download("a", tmp_path / "a")


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Range": f"bytes 0-99/{len(CONTENT)}"},
        {"Content-Range": "words 1"},
        {"Content-Encoding": "gzip"},
    ],
)
async def test_other_bytes_than_were_asked_for(
    server: ScriptedServer,
    client: AsyncClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    headers: dict[str, str],
) -> None:
    """A range that begins elsewhere, or bytes that are packed, are not written as if they were the file."""
    monkeypatch.setattr("yivideo_client.download.SEGMENT_BYTES", 100_000)

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.method == "HEAD":
            return web.Response(headers={"Content-Length": str(len(CONTENT))})
        if not request.http_range.start:
            return web.Response(status=206, body=CONTENT[:100_000])
        return web.Response(status=206, body=CONTENT[:100_000], headers=headers)

    server.handler = answer
    with pytest.raises(ConnectionFailed):
        await client.files.download("a", tmp_path / "a", parallel=1)
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "ftp://127.0.0.1/a",
        "http://[::1",
        "http://127.0.0.1:99999/",
        "http://127.0.0.1:0/",
    ],
)
async def test_redirects_to_what_is_no_web_address(
    server: ScriptedServer, client: AsyncClient, tmp_path: Path, location: str
) -> None:
    """They are told as such, and nothing else is opened in their place."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=307, headers={"Location": location})

    server.handler = answer
    with pytest.raises(ConnectionFailed, match="no address"):
        await client.files.download("a", tmp_path / "a")


async def test_a_redirect_in_plain_letters(
    server: ScriptedServer, client: AsyncClient, tmp_path: Path
) -> None:
    """A location with letters that should have been quoted, as some stores send it, is followed."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/größe":
            return web.Response(body=b"abc", headers={"ETag": "1"})
        return web.Response(status=307, headers={"Location": "/größe"})

    server.handler = answer
    assert await client.files.download("a", tmp_path / "a") == 3
    assert (tmp_path / "a").read_bytes() == b"abc"


Call = Callable[[AsyncClient, Path], Awaitable[object]]


async def _all(listed: AsyncIterator[Any]) -> list[Any]:
    return [one async for one in listed]


@pytest.mark.parametrize(
    "answered", [[], {}, {"tasks": 3}, "text", 7, {"task_id": "t"}, {"path": "a", "size": "big"}]
)
@pytest.mark.parametrize(
    "call",
    [
        lambda client, source: client.tasks.get("t"),
        lambda client, source: client.tasks.submit("a.b", {}),
        lambda client, source: client.tasks.submit_many([{"task_name": "a.b"}]),
        lambda client, source: client.tasks.types(),
        lambda client, source: client.workflows.get("w"),
        lambda client, source: client.workflows.templates(),
        lambda client, source: _all(client.tasks.list()),
        lambda client, source: _all(client.workflows.list()),
        lambda client, source: _all(client.files.list()),
        lambda client, source: client.files.link("a"),
        lambda client, source: client.files.upload(source, "a"),
    ],
)  # fmt: skip
async def test_answers_of_another_form(
    server: ScriptedServer, client: AsyncClient, tmp_path: Path, call: Call, answered: object
) -> None:
    """JSON that is not what a gateway says is told as that, once, and no traceback; the command ends with 6."""
    source = tmp_path / "source"
    source.write_bytes(b"abc")

    async def answer(request: web.Request) -> web.StreamResponse:
        await request.read()
        return web.json_response(answered)

    server.handler = answer
    with pytest.raises(UnexpectedAnswer) as raised:
        await call(client, source)
    assert len(server.seen) == 1
    assert exit_code(raised.value) == 6


async def test_a_page_in_place_of_an_upload(
    server: ScriptedServer, client: AsyncClient, tmp_path: Path
) -> None:
    """A web page that answers an upload is not sent the file again and again."""
    source = tmp_path / "source"
    source.write_bytes(CONTENT)

    async def answer(request: web.Request) -> web.StreamResponse:
        await request.read()
        return web.Response(text="<html>welcome</html>", content_type="text/html")

    server.handler = answer
    with pytest.raises(UnexpectedAnswer, match="no JSON"):
        await client.files.upload(source, "a")
    assert len(server.seen) == 1
