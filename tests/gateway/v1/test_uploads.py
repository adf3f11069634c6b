"""/v1/files: bytes on their way in."""

from __future__ import annotations

import asyncio
import hashlib
import random
import resource
from collections.abc import AsyncIterator

import aiohttp
import pytest

from gateway.clients.upload_stream import MESSAGE_BYTES
from gateway.http.body_stream import READ_BUFFER_BYTES
from gateway.v1.answers import files as answers
from tests.gateway.conftest import Harness, StartHarness

WAV = bytes(range(256)) * 40


def form(*fields: tuple[str, str], content: bytes = WAV, filename: str = "a.wav") -> aiohttp.FormData:
    """Write an upload form: fields first, then the file."""
    made = aiohttp.FormData()
    for name, value in fields:
        made.add_field(name, value)
    made.add_field("file", content, filename=filename, content_type="audio/wav")
    return made


async def test_a_form_is_stored(harness: Harness) -> None:
    """Form fields before the file: stored whole, answered in the origin's shape with a link that works without a key."""
    data = form(("file_path", "task-1/töne.wav"), ("bucket", "other"))
    async with harness.http.post("/v1/files/upload", data=data) as response:
        assert response.status == 200, await response.text()
        body = await response.json()
    answers.UploadAnswer.model_validate(body)
    assert harness.filestore.files["other", "task-1/töne.wav"].content == WAV
    assert (body["file_path"], body["bucket"], body["size"]) == ("task-1/töne.wav", "other", len(WAV))
    assert (body["content_type"], body["sha256"]) == ("audio/wav", hashlib.sha256(WAV).hexdigest())
    assert body["download_url"].startswith(f"http://{harness.address}/v1/files/presigned/")


async def test_the_path_may_come_in_the_query(harness: Harness) -> None:
    """The origin's code reads query parameters, its document form fields: both work."""
    params = {"file_path": "x/y.wav", "bucket": "b2"}
    async with harness.http.post("/v1/files/upload", params=params, data=form()) as response:
        assert response.status == 200
    assert ("b2", "x/y.wav") in harness.filestore.files


@pytest.mark.trial("10.21")
async def test_the_file_may_come_first(harness: Harness) -> None:
    """The first YiVideo's own order: the file gets its name in the end; without one nothing is stored."""
    for fields in ([("file_path", "a/x.wav")], [("bucket", "other"), ("file_path", "a/y.wav")], []):
        data = aiohttp.FormData()
        data.add_field("file", WAV, filename="a.wav")
        for name, value in fields:
            data.add_field(name, value)
        async with harness.http.post("/v1/files/upload", data=data) as response:
            body = await response.json()
            if fields:
                assert (response.status, body["file_path"]) == (200, fields[-1][1])
            else:
                assert (response.status, body["errors"][0]["pointer"]) == (400, "/file_path")
    assert harness.filestore.files.keys() == {("yivideo", "a/x.wav"), ("other", "a/y.wav")}


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../b"])
async def test_a_path_that_leaves_is_refused(harness: Harness, path: str) -> None:
    """What the filestore says against a path is a 400, and nothing is stored."""
    async with harness.http.post("/v1/files/upload", data=form(("file_path", path))) as response:
        assert (response.status, (await response.json())["code"]) == (400, "PATH_REFUSED")
    assert harness.filestore.files == {}


async def test_an_empty_file_is_refused(harness: Harness) -> None:
    """Size 0: 400, by form and raw; the form's field is named, and of a bare body none."""
    async with harness.http.post("/v1/files/upload", data=form(("file_path", "x"), content=b"")) as response:
        body = await response.json()
        assert (response.status, [one["pointer"] for one in body["errors"]]) == (400, ["/file"])
    async with harness.http.put("/v1/files/x") as response:
        body = await response.json()
        assert (response.status, body.get("errors") or []) == (400, [])
        assert body["detail"] == "the file is empty"


async def test_a_raw_body_is_stored(harness: Harness) -> None:
    """PUT: the body is the file; its size is announced; an untold type is left to the store; If-None-Match: * keeps."""
    headers = {"Content-Type": "application/octet-stream"}
    async with harness.http.put("/v1/files/t/ä b.bin", data=WAV, headers=headers) as response:
        assert response.status == 200
    header = harness.filestore.headers[-1]
    assert (header.path, header.size_bytes, header.content_type, header.if_absent) == (
        "t/ä b.bin",
        len(WAV),
        "",
        False,
    )
    async with harness.http.put(
        "/v1/files/t/ä b.bin", data=b"new", headers={"If-None-Match": "*"}
    ) as response:
        assert (response.status, (await response.json())["code"]) == (409, "FILE_EXISTS")
    assert harness.filestore.files["yivideo", "t/ä b.bin"].content == WAV


async def test_a_compressed_body_is_refused(harness: Harness) -> None:
    """Content-Encoding is not undone here (a small body may hold a huge one): 400."""
    async with harness.http.put("/v1/files/x", data=b"abc", headers={"Content-Encoding": "gzip"}) as response:
        assert response.status == 400


async def test_too_large_is_413_and_leaves_nothing(start_harness: StartHarness) -> None:
    """Past max_upload_bytes, announced or found out on the way: 413, the store's call is cancelled."""
    async with start_harness(max_upload_bytes=1000) as harness:

        async def unannounced() -> AsyncIterator[bytes]:
            for _ in range(20):
                yield WAV

        for body in (WAV, unannounced()):
            async with harness.http.put("/v1/files/x", data=body) as response:
                assert (response.status, (await response.json())["code"]) == (413, "PAYLOAD_TOO_LARGE")
        async with harness.http.post("/v1/files/upload", data=form(("file_path", "x"))) as response:
            assert response.status == 413
        await harness.filestore.wait_for(lambda: harness.filestore.uploads_open == 0)
        assert harness.filestore.files == {}


async def test_a_full_store_refuses_in_mid_upload(harness: Harness) -> None:
    """The store's refusal ends the upload at once with its own code, however much is still to come."""
    harness.filestore.refuse_after_bytes = 1024 * 1024
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 2**30:
            sent += 2**20
            yield bytes(2**20)

    async with harness.http.put("/v1/files/x", data=endless()) as response:
        assert (response.status, (await response.json())["code"]) == (507, "QUOTA_EXCEEDED")
    assert sent < 2**28


async def test_a_client_that_breaks_off_leaves_nothing(harness: Harness) -> None:
    """A connection lost in mid-upload cancels the store's call: no file, no open call, raw and form."""
    host, _, port = harness.address.partition(":")
    heads = [
        b"PUT /v1/files/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000000\r\n\r\n" + bytes(3_000_000),
        b"POST /v1/files/upload?file_path=x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000000\r\n"
        b"Content-Type: multipart/form-data; boundary=b\r\n\r\n"
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + bytes(3_000_000),
    ]
    for head in heads:
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(head)
        await writer.drain()
        await harness.filestore.wait_for(lambda: harness.filestore.uploads_open == 1)
        writer.transport.abort()
        await harness.filestore.wait_for(lambda: harness.filestore.uploads_open == 0)
    assert harness.filestore.files == {}


async def test_a_form_that_is_cut_off_is_not_stored(harness: Harness) -> None:
    """A body that ends before its closing boundary is refused although all the file's bytes came."""
    raw = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + WAV
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    async with harness.http.post("/v1/files/upload?file_path=x", data=raw, headers=headers) as response:
        assert response.status == 400
    await harness.filestore.wait_for(lambda: harness.filestore.uploads_open == 0)
    assert harness.filestore.files == {}


async def test_an_upload_that_stalls_is_dropped(start_harness: StartHarness) -> None:
    """A client that sends nothing for stalled_client_seconds does not hold the store's call."""
    async with start_harness(stalled_client_seconds=0.3) as harness:
        host, _, port = harness.address.partition(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"PUT /v1/files/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nabc")
        await harness.filestore.wait_for(lambda: harness.filestore.uploads_open == 1)
        await harness.filestore.wait_for(lambda: harness.filestore.uploads_open == 0)
        writer.close()
        assert harness.filestore.files == {}


def test_a_message_stays_below_the_contracts_limit() -> None:
    """What is gathered below 1 MiB plus the largest read stays under FileService's 2 MiB a chunk."""
    assert 1024 * 1024 + 3 * READ_BUFFER_BYTES <= 2 * 1024 * 1024


@pytest.mark.parametrize("how", ["raw", "form"])
async def test_a_large_upload_streams(harness: Harness, how: str) -> None:
    """256 MiB go through in order and in large messages while the process grows by little: nothing is gathered."""
    harness.filestore.keep_content = False
    block = random.Random(7).randbytes(2**20)
    digest, total = hashlib.sha256(), 256

    async def body() -> AsyncIterator[bytes]:
        if how == "form":
            yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        for _ in range(total):
            digest.update(block)
            yield block
        if how == "form":
            yield b"\r\n--b--\r\n"

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if how == "raw":
        sending = harness.http.put("/v1/files/big", data=body())
    else:
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        sending = harness.http.post("/v1/files/upload?file_path=big", data=body(), headers=headers)
    async with sending as response:
        answer = await response.json()
        assert response.status == 200, answer
    assert (answer["size"], answer["sha256"]) == (total * 2**20, digest.hexdigest())
    assert harness.filestore.largest_chunk >= MESSAGE_BYTES
    grown_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown_mib < 96, "client, gateway and store are all in this one process"


async def test_a_store_that_cannot_sign_still_takes_uploads(harness: Harness) -> None:
    """Without a public endpoint the upload's link is the plain address, not a failure of an upload that has succeeded."""
    harness.filestore.public = False
    async with harness.http.put("/v1/files/a b.wav", data=WAV) as response:
        url = (await response.json())["download_url"]
    assert url == f"http://{harness.address}/v1/files/download/a%20b.wav?bucket=yivideo"
