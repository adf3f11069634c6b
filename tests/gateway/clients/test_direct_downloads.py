"""/v1/files: bytes that come from the object store itself, past the filestore."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.gateway.conftest import Harness, StartHarness
from tests.gateway.object_store import ObjectStore, object_store
from tests.gateway.v1.test_downloads import RANGES, WAV

PATH = "t/töne 1.wav"


@pytest.fixture
async def direct_harness(start_harness: StartHarness) -> AsyncIterator[Harness]:
    """A harness that reads even single bytes directly."""
    async with start_harness(direct_download_bytes=1) as harness:
        yield harness


@pytest.fixture
async def store(direct_harness: Harness) -> AsyncIterator[ObjectStore]:
    """The object store behind that harness."""
    async with object_store(direct_harness.filestore) as made:
        yield made


@pytest.mark.parametrize(("headers", "status", "part"), RANGES)
async def test_ranges_are_the_same_past_the_filestore(
    direct_harness: Harness, store: ObjectStore, headers: dict[str, str], status: int, part: slice
) -> None:
    """Whole files and ranges come from the store, with every header that the filestore's way gives."""
    stored = direct_harness.filestore.put(PATH, WAV)
    etag = f'"{stored.file.etag}"'
    sent = {name: value.replace("{etag}", etag) for name, value in headers.items()}
    answers = []
    own = ("date", "x-request-id", "traceparent")
    for url in (direct_harness.filestore.store_url, ""):
        direct_harness.filestore.store_url = url
        async with direct_harness.http.get(f"/v1/files/download/{PATH}", headers=sent) as response:
            assert (response.status, await response.read()) == (status, WAV[part])
            answers.append({n: v for n, v in response.headers.items() if n.lower() not in own})
    assert answers[0] == answers[1]
    once = int(status != 304)
    assert (store.served, direct_harness.filestore.downloads) == (once, once)


async def test_refusals_are_the_filestores(direct_harness: Harness, store: ObjectStore) -> None:
    """A missing file is 404 and a range outside 416, as ever; the store is not asked."""
    direct_harness.filestore.put("a", WAV)
    async with direct_harness.http.get("/v1/files/download/b") as response:
        assert response.status == 404
    async with direct_harness.http.get("/v1/files/download/a", headers={"Range": "bytes=99999-"}) as response:
        assert (response.status, response.headers["Content-Range"]) == (416, f"bytes */{len(WAV)}")
    assert store.served == 0


async def test_small_files_and_ranges_stay_with_the_filestore(start_harness: StartHarness) -> None:
    """Below the configured size the filestore's stream is used, which needs fewer round trips; 0 always uses it."""
    for least, direct in ((100, 1), (0, 0)):
        async with (
            start_harness(direct_download_bytes=least) as harness,
            object_store(harness.filestore) as store,
        ):
            harness.filestore.put("small", bytes(99))
            harness.filestore.put("large", bytes(100))
            for path, headers in (("small", {}), ("large", {"Range": "bytes=1-"}), ("large", {})):
                async with harness.http.get(f"/v1/files/download/{path}", headers=headers) as response:
                    assert response.status in (200, 206)
                    await response.read()
            assert (store.served, harness.filestore.downloads) == (direct, 3 - direct)


async def test_a_store_that_breaks_off_breaks_the_download(
    direct_harness: Harness, store: ObjectStore
) -> None:
    """Half a body ends in a broken connection: no client takes a part for the whole."""
    direct_harness.filestore.put("big", bytes(5 * 2**20))
    store.cut_after_bytes = 2**20
    with pytest.raises(aiohttp.ClientError):
        async with direct_harness.http.get("/v1/files/download/big") as response:
            assert response.status == 200
            await response.read()
    assert (store.served, direct_harness.filestore.downloads) == (1, 0)


async def test_a_client_that_leaves_closes_the_stores_connection(
    direct_harness: Harness, store: ObjectStore
) -> None:
    """Nothing is read from the store for a client that has gone, and little for one that reads nothing."""
    direct_harness.filestore.put("big", bytes(64 * 2**20))
    async with direct_harness.http.get("/v1/files/download/big") as response:
        await response.content.readexactly(1000)
        await store.wait_until_open(1)
        response.close()
    await store.wait_until_open(0)


async def test_a_file_replaced_in_between_comes_from_the_filestore(
    direct_harness: Harness, store: ObjectStore
) -> None:
    """If-Match guards the version that the headers describe; when it no longer fits, the filestore begins anew."""
    direct_harness.filestore.put("a", WAV)
    store.replaced = True
    async with direct_harness.http.get("/v1/files/download/a") as response:
        assert (response.status, await response.read()) == (200, WAV)
    assert (store.served, direct_harness.filestore.downloads) == (0, 1)


async def test_a_store_out_of_reach_is_left_alone(direct_harness: Harness, store: ObjectStore) -> None:
    """Downloads go on through the filestore, and the store is not tried again for each of them."""
    direct_harness.filestore.put("a", WAV)
    reachable = direct_harness.filestore.store_url
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        direct_harness.filestore.store_url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        for url in (direct_harness.filestore.store_url, reachable):
            direct_harness.filestore.store_url = url
            async with direct_harness.http.get("/v1/files/download/a") as response:
                assert (response.status, await response.read()) == (200, WAV)
    assert (store.served, direct_harness.filestore.downloads) == (0, 2)
