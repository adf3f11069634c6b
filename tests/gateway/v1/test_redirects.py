"""/v1/files/download: clients are sent to the object store itself where they can reach it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.gateway.conftest import Harness, StartHarness
from tests.gateway.object_store import ObjectStore, object_store
from tests.gateway.v1.test_downloads import WAV

DOWNLOAD = "/v1/files/download/t/a.wav"


@pytest.fixture
async def store(harness: Harness) -> AsyncIterator[ObjectStore]:
    """An object store that clients can reach, with one file."""
    async with object_store(harness.filestore) as made:
        harness.filestore.store_is_public = True
        harness.filestore.put("t/a.wav", WAV)
        yield made


async def test_a_download_leads_to_the_store(harness: Harness, store: ObjectStore) -> None:
    """The answer is 307 with a link that nobody may keep, and a client that follows it has the bytes, or the range, from there."""
    async with harness.http.get(DOWNLOAD, allow_redirects=False) as response:
        assert response.status == 307
        assert response.headers["Location"].startswith(harness.filestore.store_url)
        assert response.headers["Cache-Control"] == "no-store"
    async with harness.http.get(DOWNLOAD) as response:
        assert await response.read() == WAV
    async with harness.http.get(DOWNLOAD, headers={"Range": "bytes=2-5"}) as response:
        assert (response.status, await response.read()) == (206, WAV[2:6])
    assert (store.served, harness.filestore.downloads) == (2, 0)


async def test_what_is_answered_here_as_before(harness: Harness, store: ObjectStore) -> None:
    """HEAD, conditional requests and missing files are not sent away."""
    async with harness.http.head(DOWNLOAD, allow_redirects=False) as response:
        etag = response.headers["ETag"]
        assert (response.status, response.content_length) == (200, len(WAV))
    async with harness.http.get(DOWNLOAD, headers={"If-None-Match": etag}, allow_redirects=False) as response:
        assert response.status == 304
    async with harness.http.get("/v1/files/download/t/none.wav", allow_redirects=False) as response:
        assert (response.status, (await response.json())["code"]) == (404, "FILE_NOT_FOUND")
    async with harness.http.get(DOWNLOAD, allow_redirects=False) as response:
        assert response.status == 307
    assert store.served == 0


async def test_bytes_come_through_here_where_the_operator_says_so(start_harness: StartHarness) -> None:
    """With `redirect_downloads: never` no client is sent away."""
    async with start_harness(redirect_downloads="never") as harness, object_store(harness.filestore) as store:
        harness.filestore.store_is_public = True
        harness.filestore.put("t/a.wav", WAV)
        async with harness.http.get(DOWNLOAD, allow_redirects=False) as response:
            assert (response.status, await response.read()) == (200, WAV)
        assert store.served == 0


async def test_a_store_without_an_address_is_not_asked_for_every_download(harness: Harness) -> None:
    """One question tells that links are served here, or that there are none; the next downloads go without."""
    harness.filestore.put("t/a.wav", WAV)
    for _ in range(3):
        async with harness.http.get(DOWNLOAD, allow_redirects=False) as response:
            assert (response.status, await response.read()) == (200, WAV)
    assert harness.filestore.presigned == 1
