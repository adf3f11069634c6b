"""/v1/files: bytes on their way out."""

from __future__ import annotations

import aiohttp
import pytest

from tests.gateway.conftest import Harness

WAV = bytes(range(256)) * 40


RANGES = [
    ({}, 200, slice(None)),
    ({"Range": "bytes=0-0"}, 206, slice(0, 1)),
    ({"Range": "bytes=10-19"}, 206, slice(10, 20)),
    ({"Range": "bytes=10000-99999"}, 206, slice(10000, None)),
    ({"Range": "bytes=-10"}, 206, slice(-10, None)),
    ({"Range": "bytes=-99999"}, 206, slice(None)),
    ({"Range": "bytes=0-1,5-6"}, 200, slice(None)),
    ({"Range": "nonsense"}, 200, slice(None)),
    ({"Range": "bytes=0-9", "If-Range": "{etag}"}, 206, slice(0, 10)),
    ({"Range": "bytes=0-9", "If-Range": "W/{etag}"}, 200, slice(None)),
    ({"Range": "bytes=0-9", "If-Range": '"other"'}, 200, slice(None)),
    ({"Range": "bytes=0-9", "If-Range": "Tue, 14 Nov 2023 22:13:20 GMT"}, 206, slice(0, 10)),
    ({"Range": "bytes=0-9", "If-Range": "Tue, 14 Nov 2023 22:13:19 GMT"}, 200, slice(None)),
    ({"If-None-Match": '"other"'}, 200, slice(None)),
    ({"If-None-Match": "{etag}"}, 304, slice(0, 0)),
    ({"If-None-Match": "{etag}", "Range": "bytes=0-9"}, 304, slice(0, 0)),
    ({"If-Modified-Since": "Tue, 14 Nov 2023 22:13:20 GMT"}, 304, slice(0, 0)),
    ({"If-Modified-Since": "Tue, 14 Nov 2023 22:13:19 GMT"}, 200, slice(None)),
]


@pytest.mark.parametrize(("headers", "status", "part"), RANGES)
async def test_downloads_and_ranges(
    harness: Harness, headers: dict[str, str], status: int, part: slice
) -> None:
    """The table of RFC 9110 §13–14: status, bytes, and the headers that go with them."""
    stored = harness.filestore.put("t/töne.wav", WAV)
    etag = f'"{stored.file.etag}"'
    sent = {name: value.replace("{etag}", etag) for name, value in headers.items()}
    async with harness.http.get("/v1/files/download/t/töne.wav", headers=sent) as response:
        assert response.status == status
        content = await response.read()
        assert content == WAV[part]
        assert response.headers["ETag"] == etag
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        if status == 304:
            return
        assert response.headers["Content-Length"] == str(len(content))
        assert response.headers["Content-Type"] == "audio/wav"
        assert response.headers["Content-Disposition"].startswith(
            "attachment; filename=\"t_ne.wav\"; filename*=UTF-8''t%C3%B6ne"
        )
        start = len(WAV) - len(content) if (part.start or 0) < 0 or part.start == 10000 else part.start or 0
        expected = f"bytes {start}-{start + len(content) - 1}/{len(WAV)}" if status == 206 else None
        assert response.headers.get("Content-Range") == expected
    await harness.filestore.wait_for(lambda: harness.filestore.downloads_open == 0)


@pytest.mark.parametrize("wanted", ["bytes=99999-", "bytes=10240-", "bytes=-0"])
async def test_a_range_outside_is_416(harness: Harness, wanted: str) -> None:
    """416 says how large the file is."""
    harness.filestore.put("a", WAV)
    async with harness.http.get("/v1/files/download/a", headers={"Range": wanted}) as response:
        assert (response.status, response.headers["Content-Range"]) == (416, f"bytes */{len(WAV)}")
        assert (await response.json())["code"] == "RANGE_REFUSED"


async def test_an_empty_file_downloads_whole_whatever_is_asked(harness: Harness) -> None:
    """A file without bytes has no range: 200, or 416, never a Content-Range that names nothing."""
    harness.filestore.put("empty", b"")
    for wanted, status in (("bytes=0-", 200), (None, 200)):
        headers = {"Range": wanted} if wanted else {}
        async with harness.http.get("/v1/files/download/empty", headers=headers) as response:
            assert (response.status, await response.read()) == (status, b"")
            assert "Content-Range" not in response.headers


async def test_head_says_what_get_would_send(harness: Harness) -> None:
    """HEAD: the same headers, no body, and no Download call."""
    harness.filestore.put("a.wav", WAV)
    async with harness.http.get("/v1/files/download/a.wav") as response:
        got = response.headers
    async with harness.http.head("/v1/files/download/a.wav") as response:
        assert (response.status, await response.read()) == (200, b"")
        for name in (
            "Content-Length",
            "Content-Type",
            "ETag",
            "Last-Modified",
            "Accept-Ranges",
            "Content-Disposition",
        ):
            assert response.headers[name] == got[name], name
    async with harness.http.head("/v1/files/download/b.wav") as response:
        assert response.status == 404


async def test_a_download_that_breaks_is_seen_to_be_broken(harness: Harness) -> None:
    """When the store fails in mid-download the connection breaks: no client takes a part for the whole."""
    harness.filestore.put("big", bytes(5 * 2**20))
    harness.filestore.cut_download = True
    with pytest.raises(aiohttp.ClientError):
        async with harness.http.get("/v1/files/download/big") as response:
            assert response.status == 200
            await response.read()
    await harness.filestore.wait_for(lambda: harness.filestore.downloads_open == 0)


async def test_a_client_that_stops_reading_stops_the_store(harness: Harness) -> None:
    """A client that leaves in mid-download cancels the store's call; while it reads nothing, little is sent."""
    harness.filestore.put("big", bytes(64 * 2**20))
    async with harness.http.get("/v1/files/download/big") as response:
        await response.content.readexactly(1000)
        await harness.filestore.wait_for(lambda: harness.filestore.downloads_open == 1)
        response.close()
    await harness.filestore.wait_for(lambda: harness.filestore.downloads_open == 0)


async def test_presigned_links(harness: Harness) -> None:
    """A signed link is verified by the filestore: GET, HEAD and PUT work with the right token and only with it."""
    harness.filestore.put("t/a.wav", WAV)
    async with harness.http.get("/v1/files/url/t/a.wav") as response:
        url = (await response.json())["download_url"]
    async with aiohttp.ClientSession() as anybody:
        async with anybody.get(url, headers={"Range": "bytes=0-9"}) as response:
            assert (response.status, await response.read()) == (206, WAV[:10])
            assert 'filename="saved as.wav"' in response.headers["Content-Disposition"]
        async with anybody.head(url) as response:
            assert (response.status, response.headers["Content-Length"]) == (200, str(len(WAV)))
        put = url.replace("good-get", "good-put")
        async with anybody.put(put, data=b"new") as response:
            assert response.status == 200
        for method, wrong in (("GET", put), ("PUT", url), ("GET", url.replace("good", "bad"))):
            async with anybody.request(method, wrong, data=b"x" if method == "PUT" else None) as response:
                assert (response.status, (await response.json())["code"]) == (403, "PERMISSION_DENIED")
        async with anybody.get(url.split("?")[0]) as response:
            assert response.status == 400
    assert harness.filestore.files["yivideo", "t/a.wav"].content == b"new"
