"""Servers that speak TLS: whom the client trusts, and what it says of others."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from tests.client.conftest import QUICK, ScriptedServer
from yivideo_client import AsyncClient, Connection, ConnectionFailed
from yivideo_client.connection import ProfileError


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for loopback that nobody has signed but itself; its key lies in the same file."""
    made = tmp_path_factory.mktemp("tls") / "both.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(made), "-out", f"{made}.crt"],
        check=True, capture_output=True,
    )  # fmt: skip
    made.write_text(made.read_text() + Path(f"{made}.crt").read_text())
    return made


@pytest.fixture
async def address(certificate: Path) -> AsyncIterator[str]:
    """A server that shows it and answers everything."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.json_response({"tasks": [], "next_page_token": ""}, headers={"ETag": "e"})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    yield f"https://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_whose_certificate_is_named_is_trusted(address: str, certificate: Path) -> None:
    """Over both ways of the client: that of small calls and that of files."""
    async with AsyncClient(Connection(address, ca_file=str(certificate)), backoff=QUICK) as client:
        assert [one async for one in client.tasks.list()] == []
        assert (await client.files.stat("a")).etag == "e"


async def test_a_certificate_that_nobody_vouches_for(address: str) -> None:
    """It is named as the cause with what helps, over both ways, and is not tried again: it stays so."""
    async with AsyncClient(address, backoff=QUICK) as client:
        for asking in (client.tasks.get("t"), client.files.stat("a")):
            with pytest.raises(ConnectionFailed, match="its certificate is not trusted: self-signed") as told:
                await asking
            assert "YIVIDEO_CA_FILE" in told.value.advice


async def test_a_server_that_speaks_plainly(server: ScriptedServer) -> None:
    """https:// to it is told as that."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response()

    server.handler = answer
    async with AsyncClient(server.url.replace("http:", "https:"), backoff=QUICK) as client:
        for asking in (client.tasks.get("t"), client.files.stat("a")):
            with pytest.raises(ConnectionFailed, match="it does not speak TLS") as told:
                await asking
            assert told.value.advice == "is http:// meant?"


async def test_a_file_without_certificates(address: str, tmp_path: Path) -> None:
    """The file is named, whatever asks first."""
    (tmp_path / "no.pem").write_text("nothing")
    async with AsyncClient(Connection(address, ca_file=str(tmp_path / "no.pem"))) as client:
        for asking in (client.tasks.get("t"), client.files.stat("a")):
            with pytest.raises(ProfileError, match=r"no\.pem"):
                await asking
