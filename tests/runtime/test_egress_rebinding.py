"""A name is looked up once for a connection, and what was checked is what is dialled, under the name that was asked for."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import sys
import threading
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.abc import ResolveResult

from runtime.egress import Egress, EgressPolicy
from runtime.errors import AddressRefused, DeadlineExceeded, Unavailable
from runtime.resolver import SystemResolver
from tests.conftest import ROOT
from tests.runtime.certificates import make_authority
from tests.runtime.web_room import Names, egress, fetched, serving


class CountingNames(Names):
    """Notes who was asked for."""

    def __init__(self, table: dict[str, list[list[str]]]) -> None:
        super().__init__(table)
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked.append(host)
        return await super().resolve(host, port, family)


async def test_what_was_checked_is_what_is_dialled() -> None:
    """A name that is good when asked first and private ever after is asked once, and called where it was good."""
    seen: list[str] = []

    async def note(request: web.Request) -> web.Response:
        seen.append(request.host)
        return web.Response(text="hello")

    async with serving(note) as port:
        names = CountingNames({"turncoat.example": [["127.0.0.1"], ["127.0.0.66"]]})
        made = Egress(EgressPolicy(allow=(f"127.0.0.1:{port}",)), resolver=names)
        try:
            assert await fetched(made, f"http://turncoat.example:{port}/") == "hello"
            assert names.asked == ["turncoat.example"]
            assert seen == [f"turncoat.example:{port}"], "the Host header is the name, not the address"
        finally:
            await made.aclose()


@pytest.mark.parametrize(
    "second", ["127.0.0.1", "169.254.169.254", "::1", "::ffff:10.0.0.1", "64:ff9b::7f00:1"]
)
async def test_a_name_that_turns_private_is_refused_for_a_post_too(second: str) -> None:
    """Rebinding between two deliveries: the second answer is looked at like the first, and nothing is sent."""
    bodies: list[bytes] = []

    async def note(request: web.Request) -> web.Response:
        bodies.append(await request.read())
        return web.Response(headers={"Connection": "close"})

    async with serving(note) as port:
        names = {"turncoat.example": [["127.0.0.2"], [second]]}
        async with egress(f"127.0.0.2:{port}", names=names) as made:
            url = f"http://turncoat.example:{port}/"
            with pytest.raises(Exception) as first:  # allowed, though nobody listens there
                await made.request("POST", url, timeout_seconds=5, data=b"1").__aenter__()
            assert not isinstance(first.value, AddressRefused)
            with pytest.raises(AddressRefused):
                await made.request("POST", url, timeout_seconds=5, data=b"2").__aenter__()
    assert bodies == []


CALL = """
import asyncio, sys
from runtime.egress import Egress, EgressPolicy
from tests.runtime.web_room import Names
port, name = sys.argv[1:]
async def main():
    made = Egress(EgressPolicy(allow=("127.0.0.1",)), resolver=Names({name: [["127.0.0.1"]]}))
    try:
        async with made.request("POST", f"https://{name}:{port}/", timeout_seconds=10, data=b"x") as response:
            print(response.status, await response.text())
    except Exception as error:
        print(type(error).__name__)
    await made.aclose()
asyncio.run(main())
"""


async def test_tls_asks_for_the_name_and_believes_only_its_certificate(tmp_path: Path) -> None:
    """SNI carries the name, the certificate must be for it although an address was dialled; another name's is refused."""
    authority = make_authority(tmp_path, "hooks-authority")
    certificate, key = authority.sign("hooks.example")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    asked: list[str | None] = []
    context.sni_callback = lambda _, name, __: asked.append(name)

    async def host(request: web.Request) -> web.Response:
        return web.Response(text=request.host)

    app = web.Application()
    app.router.add_post("/", host)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    port = runner.addresses[0][1]
    try:
        answers = [
            await _call(str(port), name, authority.certificate) for name in ("hooks.example", "other.example")
        ]
    finally:
        await runner.cleanup()
    assert answers == [f"200 hooks.example:{port}", "Unavailable"]
    assert asked == ["hooks.example", "other.example"]


async def _call(port: str, name: str, authority: Path) -> str:
    """Call from a process of its own: the trusted authorities are read when the client library is loaded."""
    environment = {**os.environ, "SSL_CERT_FILE": str(authority), "PYTHONPATH": str(ROOT)}
    caller = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CALL, port, name, cwd=ROOT, env=environment, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await asyncio.wait_for(caller.communicate(), 30)
    return output.decode().strip().splitlines()[-1]


async def test_names_that_nobody_answers_for_do_not_stop_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty lookups that hang leave room for the twenty-first."""
    release = threading.Event()
    real = socket.getaddrinfo

    def lookup(host: str, *rest: int) -> object:
        if host == "hole.example":
            release.wait(30)
            raise socket.gaierror
        return real("127.0.0.1", *rest)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    async with serving() as port:
        made = Egress(EgressPolicy(allow=("127.0.0.1",)), connections_per_host=64)
        try:
            hanging = [
                asyncio.create_task(
                    made.request("POST", f"http://hole.example:{port}/", timeout_seconds=60).__aenter__()
                )
                for _ in range(20)
            ]
            await asyncio.sleep(0)
            assert await fetched(made, f"http://fine.example:{port}/") == "hello"
            assert not any(task.done() for task in hanging)
            release.set()
            for task in hanging:
                with pytest.raises(Unavailable):
                    await task
        finally:
            release.set()
            await made.aclose()


async def test_the_system_resolver_answers_like_the_system() -> None:
    """It gives every address of a name, in the form that a connector wants, and fails with OSError."""
    resolver = SystemResolver()
    found = await resolver.resolve("localhost", 80, socket.AF_UNSPEC)
    assert {answer["host"] for answer in found} <= {"127.0.0.1", "::1"} and found
    assert all((answer["hostname"], answer["port"]) == ("localhost", 80) for answer in found)
    with pytest.raises(OSError):
        await resolver.resolve("no-such-name.invalid", 80)
    await resolver.close()


async def test_a_peer_that_takes_no_connection_is_given_up_before_the_whole_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A listener whose queue is full drops what comes; connecting has a limit of its own."""
    monkeypatch.setattr("runtime.egress._CONNECT_SECONDS", 0.2)
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        waiting = []
        for _ in range(4):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
            waiting.append(one)
        async with egress("127.0.0.1") as made:
            with pytest.raises(DeadlineExceeded):
                await asyncio.wait_for(fetched(made, f"http://127.0.0.1:{port}/"), 4)
        for one in waiting:
            one.close()
