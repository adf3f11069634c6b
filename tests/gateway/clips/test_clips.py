"""A facade stands beside /v1 with policies of its own, and nothing outside its folder knows it."""

from __future__ import annotations

import ast
import asyncio
import io
import tokenize
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from gateway.app import facades
from gateway.settings import GatewaySection, GatewaySettings
from tests.gateway.clips.facade import SESSION, facade
from tests.gateway.conftest import Harness, StartHarness

ANNA = {"Cookie": f"{SESSION}=anna"}
FILM = {"film": "films/a.mp4"}


@pytest.fixture
async def harness(start_harness: StartHarness) -> AsyncIterator[Harness]:
    """A gateway with the facade beside its own."""
    async with start_harness(surfaces=(*facades(GatewaySettings()), facade())) as made:
        yield made


async def make(harness: Harness) -> str:
    """Make a clip and return its name."""
    async with harness.http.post("/clips/api/clips", json=FILM, headers=ANNA) as response:
        assert response.status == 201, await response.text()
        clip: str = (await response.json())["clip"]
        return clip


async def test_it_submits_for_its_own_principal(harness: Harness) -> None:
    """The cookie's user owns the task, which is a task like any other on /v1."""
    clip = await make(harness)
    assert harness.scheduler.tasks[clip].spec.user == "anna"
    async with harness.http.get(f"/v1/tasks/{clip}") as response:
        assert (response.status, (await response.json())["user"]) == (200, "anna")


async def test_its_errors_are_its_own(harness: Harness) -> None:
    """Refusals, faults behind it, unknown paths and wrong methods below its prefix have its body; those of /v1 a problem."""
    for method, path, headers, status in (
        ("POST", "/clips/api/clips", {}, 401),
        ("POST", "/clips/api/clips", ANNA, 400),
        ("PUT", "/clips/api/clips", ANNA, 405),
        ("GET", "/clips/nothing", {}, 404),
        ("GET", "/clips/api/clips/none/ws", ANNA, 404),
    ):
        async with harness.http.request(method, path, headers=headers) as response:
            assert response.status == status, path
            body = await response.json(content_type="application/json")
            assert set(body) == {"ok", "reason"} and body["ok"] is False
            assert response.headers["X-Request-Id"]
    for path in ("/v1/nothing", "/clipsandmore"):
        async with harness.http.get(path) as response:
            assert (response.status, response.content_type) == (404, "application/problem+json")


async def test_it_watches_over_a_websocket(harness: Harness) -> None:
    """Each event comes once, in order, as it happens; behind the last one the server closes with 1000."""
    clip = await make(harness)
    async with harness.http.ws_connect(f"/clips/api/clips/{clip}/ws", headers=ANNA) as socket:
        assert await socket.receive_json() == {"event": "accepted", "number": 1}
        await harness.scheduler.complete(clip)
        assert await socket.receive_json() == {"event": "completed", "number": 2}
        assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
    assert socket.close_code == aiohttp.WSCloseCode.OK


async def test_a_strangers_clip_does_not_exist(harness: Harness) -> None:
    """Another user's task is 404 before the handshake is answered."""
    clip = await make(harness)
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await harness.http.ws_connect(f"/clips/api/clips/{clip}/ws", headers={"Cookie": f"{SESSION}=bob"})
    assert refused.value.status == 404


@pytest.mark.parametrize(
    ("origin", "status"), [("https://evil.example", 403), ("null", 403), ("http://{host}", 101)]
)
async def test_pages_of_other_sites_open_no_websocket(harness: Harness, origin: str, status: int) -> None:
    """A handshake is a GET, which a page of another site may send with the cookie: its Origin decides, as for a POST."""
    clip = await make(harness)
    headers = {**ANNA, "Origin": origin.replace("{host}", harness.address)}
    async with harness.http.post("/clips/api/clips", json=FILM, headers=headers) as response:
        assert response.status == (403 if status == 403 else 201)
    address = f"/clips/api/clips/{clip}/ws"
    if status == 403:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await harness.http.ws_connect(address, headers=headers)
        assert refused.value.status == 403 and harness.scheduler.watchers == 0
    else:
        async with harness.http.ws_connect(address, headers=headers) as socket:
            assert (await socket.receive_json())["event"] == "accepted"


async def test_v1_checks_handshakes_as_it_checks_posts(harness: Harness) -> None:
    """Without keys a foreign page may read no route of /v1 by asking for a WebSocket."""
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Origin": "https://evil.example"}
    async with harness.http.get("/v1/tasks", headers=upgrade) as response:
        assert response.status == 403


async def test_a_client_that_leaves_ends_its_watch(harness: Harness) -> None:
    """The call to the scheduler ends with its last reader."""
    clip = await make(harness)
    async with harness.http.ws_connect(f"/clips/api/clips/{clip}/ws", headers=ANNA) as socket:
        await socket.receive_json()
        assert harness.scheduler.watchers == 1
    async with asyncio.timeout(5):
        while harness.scheduler.watchers:
            await asyncio.sleep(0.01)


async def test_a_draining_server_says_so(start_harness: StartHarness) -> None:
    """1001 tells the client to come back elsewhere."""
    async with start_harness(surfaces=(*facades(GatewaySettings()), facade())) as harness:
        clip = await make(harness)
        session = aiohttp.ClientSession(f"http://{harness.address}", headers=ANNA)
        socket = await session.ws_connect(f"/clips/api/clips/{clip}/ws")
        await socket.receive_json()
        following = asyncio.create_task(socket.receive())
    async with session:
        assert (await following).type is aiohttp.WSMsgType.CLOSE
        assert socket.close_code == aiohttp.WSCloseCode.GOING_AWAY


async def test_it_is_described_by_itself(harness: Harness) -> None:
    """Its document names its routes and its error body; /openapi.json does not."""
    async with harness.http.get("/clips/openapi.json") as response:
        document = await response.json()
    assert set(document["paths"]) == {
        "/clips/api/clips", "/clips/api/clips/{clip}/ws", "/clips/openapi.json",
    }  # fmt: skip
    assert document["components"]["schemas"]["Failure"]["required"] == ["ok", "reason"]
    async with harness.http.get("/openapi.json") as response:
        assert not any("clips" in path for path in (await response.json())["paths"])


def code_lines(source: str) -> int:
    """Lines that are neither blank, comment nor docstring."""
    prose: set[int] = set()
    for part in ast.walk(ast.parse(source)):
        if isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant):
            prose |= set(range(part.lineno, (part.end_lineno or part.lineno) + 1))
    layout = {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    }
    code: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in layout:
            code |= set(range(token.start[0], token.end[0] + 1))
    return len(code - prose)


def test_it_is_small_and_known_to_nobody() -> None:
    """A facade takes at most a hundred lines of code, and no line elsewhere."""
    here = Path(__file__).parent
    assert 50 < code_lines((here / "facade.py").read_text()) <= 100
    gateway = here.parents[2] / "gateway"
    assert not any("clips" in path.read_text() for path in gateway.rglob("*.py"))
    assert GatewaySection.model_fields.keys().isdisjoint({"clips"})
