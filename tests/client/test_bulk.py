"""The bytes of files: sent and fetched outside the event loop, refused early, broken off, and past a proxy."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from aiohttp import web

from tests.client.conftest import ScriptedServer
from tests.conftest import ROOT
from yivideo_client import AsyncClient, Connection, errors

SIZE = 20_000_000


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A file that no socket buffer holds."""
    path = tmp_path / "large.bin"
    path.write_bytes(b"x" * SIZE)
    return path


async def test_a_refusal_in_the_middle_is_heard(
    server: ScriptedServer, client: AsyncClient, source: Path
) -> None:
    """A server that answers before it has read all, and closes: its reason is told, once, not that a pipe broke."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.json_response({"code": "PERMISSION_DENIED", "detail": "not yours"}, status=403)
        response.force_close()
        return response

    server.handler = answer
    with pytest.raises(errors.PermissionDenied, match="not yours"):
        await client.files.upload(source, "x")
    assert len(server.seen) == 1


async def test_a_transfer_that_is_cancelled_ends_at_once(
    server: ScriptedServer, client: AsyncClient, source: Path
) -> None:
    """The thread does not go on behind the caller's back: the connection is gone when the call is."""

    async def answer(request: web.Request) -> web.StreamResponse:
        await request.read()
        return web.Response()

    server.handler = answer
    upload = asyncio.create_task(client.files.upload(source, "x"))
    async with asyncio.timeout(10):
        while not server.seen:
            await asyncio.sleep(0.01)
        upload.cancel()
        with pytest.raises(asyncio.CancelledError):
            await upload
        while (transport := server.seen[0].transport) is not None and not transport.is_closing():
            await asyncio.sleep(0.01)


async def test_progress_is_told_in_the_loop(
    server: ScriptedServer, client: AsyncClient, source: Path
) -> None:
    """Growing, to the file's size, and never from another thread."""
    told: list[int] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        return web.json_response({"file_path": "x", "size": len(body), "sha256": ""})

    def progress(done: int, total: int) -> None:
        assert asyncio.get_running_loop() and total == SIZE
        told.append(done)

    server.handler = answer
    await client.files.upload(source, "x", progress=progress)
    assert told == sorted(told) and told[-1] == SIZE and len(told) > 2


async def test_connections_are_used_again(
    server: ScriptedServer, client: AsyncClient, tmp_path: Path
) -> None:
    """Files one after the other go over one connection."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(body=b"abc", headers={"ETag": "1"})

    server.handler = answer
    for name in ("a", "b", "c"):
        await client.files.download(name, tmp_path / name)
    assert len(server.seen) == 6 and len({request.transport for request in server.seen}) == 1


async def test_a_proxy_is_used_where_the_environment_names_one(
    server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plain HTTP is asked of it by the whole address; what no_proxy names is asked directly."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(body=b"abc", headers={"ETag": "1"})

    server.handler = answer
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.setenv("no_proxy", "")
    async with AsyncClient(Connection("http://gateway.example:8788", "k")) as client:
        await client.files.download("a", tmp_path / "a")
    assert server.seen[1].raw_path == "http://gateway.example:8788/v1/files/download/a"
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    async with AsyncClient(Connection(server.url)) as client:
        await client.files.download("b", tmp_path / "b")
    assert server.seen[-1].raw_path == "/v1/files/download/b"


async def test_a_transfer_loads_only_what_it_needs(
    server: ScriptedServer, client: AsyncClient, tmp_path: Path
) -> None:
    """Most of a short command's time is imports: `yivideo file get` does without HTTP library, validation, bars, other groups."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(body=b"abc", headers={"ETag": "1"})

    server.handler = answer
    code = (
        "import sys; from yivideo_client.cli.main import app; app(sys.argv[1:], standalone_mode=False); "
        "print(*sorted(sys.modules), sep='\\n')"
    )
    target = tmp_path / "a"
    words = ("--url", server.url, "file", "get", "a", str(target), "--quiet")
    environment = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path)}  # no profiles
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, *words, cwd=ROOT, stdout=subprocess.PIPE, env=environment
    )
    shown, _ = await asyncio.wait_for(child.communicate(), 60)
    loaded = set(shown.decode().split())
    assert target.read_bytes() == b"abc" and "yivideo_client.cli.file_commands" in loaded
    assert not loaded & {
        "aiohttp",
        "pydantic",
        "rich",
        "tomllib",
        "yivideo_client.workflows",
        "yivideo_client.cli.task_commands",
        "yivideo_client.cli.dev",
    }
