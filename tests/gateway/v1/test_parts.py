"""A large file in parts: through a real gateway into a real store, over connections that break, by runs that follow each other."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.client.conftest import QUICK
from tests.client_grpc.test_grpc_client import filestore
from tests.filestore.test_servicer import transfers, until
from tests.gateway.conftest import Harness, StartHarness
from yivideo_client import AsyncClient, errors, upload
from yivideo_client.bulk import Bulk
from yivideo_client.tries import Broken

CONTENT = random.Random(2).randbytes(1_000_000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()
PARTS = 16


@pytest.fixture
async def house(start_harness: StartHarness, tmp_path: Path) -> AsyncIterator[Harness]:
    """A gateway before a real filestore."""
    async with (
        filestore(tmp_path / "store") as address,
        start_harness(filestore_address=address) as harness,
    ):
        yield harness


@pytest.fixture
async def client(house: Harness) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(f"http://{house.address}", backoff=QUICK) as opened:
        yield opened


@pytest.fixture
def film(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of sixteen parts."""
    monkeypatch.setattr(upload, "PART_BYTES", 65_536)
    path = tmp_path / "film.mp4"
    path.write_bytes(CONTENT)
    return path


async def names(client: AsyncClient) -> list[str]:
    return [file.path async for file in client.files.list()]


async def test_a_file_of_parts_is_the_file(client: AsyncClient, film: Path, tmp_path: Path) -> None:
    """Same bytes, checksum and type; nothing is left of the parts; progress grows to the whole."""
    told: list[int] = []
    stored = await client.files.upload(
        film, "a/film.mp4", parts=True, progress=lambda done, total: told.append(done)
    )
    assert (stored.path, stored.size, stored.sha256) == ("a/film.mp4", len(CONTENT), DIGEST)
    assert stored.content_type == "video/mp4" and told[-1] == len(CONTENT)
    await client.files.download("a/film.mp4", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == CONTENT
    assert await names(client) == ["a/film.mp4"]
    with pytest.raises(errors.Conflict):
        await client.files.upload(film, "a/film.mp4", parts=True, only_new=True)


async def test_a_later_run_sends_what_is_missing(
    client: AsyncClient, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts that came are not sent again, whoever broke off; a file that breaks whole goes on in parts by itself."""
    sent: list[str] = []
    put = Bulk.put
    breaks = 5

    async def breaking(self: Bulk, path: str, *rest: Any, **more: Any) -> Any:
        if len(sent) >= breaks:
            raise Broken("the line is down")
        reply = await put(self, path, *rest, **more)
        sent.append(path)
        return reply

    monkeypatch.setattr(Bulk, "put", breaking)
    with pytest.raises(errors.ConnectionFailed):
        await client.files.upload(film, "a/film.mp4", parts=True)
    assert 5 <= len(sent) < PARTS and all("/.parts/" in path for path in sent)
    breaks = 100
    stored = await client.files.upload(film, "a/film.mp4", parts=True)
    assert stored.sha256 == DIGEST and len(sent) == PARTS and len(set(sent)) == PARTS

    first = True

    async def breaking_once(self: Bulk, path: str, *rest: Any, **more: Any) -> Any:
        nonlocal first
        if first:
            first = False
            raise Broken("it broke")
        return await put(self, path, *rest, **more)

    monkeypatch.setattr(Bulk, "put", breaking_once)
    assert (await client.files.upload(film, "b/film.mp4")).sha256 == DIGEST
    assert await names(client) == ["a/film.mp4", "b/film.mp4"]


async def test_what_is_made_of_parts_must_fit(house: Harness, client: AsyncClient, film: Path) -> None:
    """Missing parts, wrong sums and sizes, itself as a part: refused, and nothing has changed."""
    for name in ("p1", "p2"):
        async with house.http.put(f"/v1/files/{name}", data=name.encode()) as response:
            assert response.status == 200
    good = {"file_path": "whole", "parts": ["p1", "p2", "p1"], "delete_parts": False}
    refused: list[tuple[dict[str, Any], int]] = [
        ({"parts": ["p1", "p3"]}, 404), ({"sha256": "0" * 64}, 400), ({"size": 5}, 400), ({"size": 2**63}, 400),
        ({"parts": []}, 400),
        ({"parts": ["p1", "whole"]}, 400), ({"file_path": "../x"}, 400), ({"sha256": "x"}, 400), ({"more": 1}, 400),
    ]  # fmt: skip
    for change, status in refused:
        async with house.http.post("/v1/files/compose", json=good | change) as response:
            assert response.status == status, (change, await response.text())
    assert await names(client) == ["p1", "p2"]
    async with house.http.post("/v1/files/compose", json=good | {"size": 6}) as response:
        assert response.status == 200 and (await response.json())["size"] == 6
    async with house.http.get("/v1/files/download/whole") as response:
        assert await response.read() == b"p1p2p1"
    async with house.http.post("/v1/files/compose", json=good | {"delete_parts": True}) as response:
        assert response.status == 200
    assert await names(client) == ["whole"]


async def test_an_answer_that_was_lost_is_no_loss(
    client: AsyncClient, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is there and its parts are gone: a repeated request finds out, and does not send it all again."""
    call = client._transport.call

    async def losing(method: str, path: str, **options: Any) -> Any:
        await call(method, path, **options)
        return await call(method, path, **options)

    monkeypatch.setattr(client._transport, "call", losing)
    assert (await client.files.upload(film, "a/film.mp4", parts=True)).size == len(CONTENT)


async def test_a_client_that_leaves_ends_what_it_had_made_of_parts(
    house: Harness, client: AsyncClient
) -> None:
    """The store stops reading and writing, nothing of the file is there, and the parts stay."""
    async with house.http.put("/v1/files/p", data=CONTENT) as response:
        assert response.status == 200
    body = {"file_path": "whole", "parts": ["p"] * 1000, "delete_parts": True}
    composing = asyncio.ensure_future(house.http.post("/v1/files/compose", json=body))
    await until(lambda: transfers("up") == 1)
    composing.cancel()
    begun = asyncio.get_running_loop().time()
    await until(lambda: transfers("up") == 0)
    assert asyncio.get_running_loop().time() - begun < 5
    assert await names(client) == ["p"]
