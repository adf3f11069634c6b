"""Bodies that come too slowly, or never end: bounded in time, whatever they are for."""

from __future__ import annotations

import asyncio

import pytest

from tests.gateway.conftest import Harness, StartHarness

FORM = b"--b\r\nContent-Disposition: form-data; name=file\r\n\r\n"
CASES = {
    "json": ("POST /v1/tasks", "application/json", b'{"task_name": "'),
    "raw": ("PUT /v1/files/x", "application/octet-stream", b"x"),
    "form": ("POST /v1/files/upload?file_path=x", "multipart/form-data; boundary=b", FORM),
}


async def dripped(harness: Harness, line: str, kind: str, begin: bytes) -> bytes:
    """Send a body byte by byte, faster than any idle timeout; gives what is answered."""
    host, _, port = harness.address.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"{line} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: 100000\r\n\r\n"
    writer.write(head.encode() + begin)

    async def drip() -> None:
        while True:
            writer.write(b"x")
            await asyncio.sleep(0.02)

    dripping = asyncio.create_task(drip())
    try:
        return await asyncio.wait_for(reader.readline(), 10)
    finally:
        dripping.cancel()
        writer.close()


@pytest.mark.trial("10.20")
@pytest.mark.parametrize("case", CASES)
async def test_a_body_byte_by_byte_is_refused(start_harness: StartHarness, case: str) -> None:
    """A client that sends, but next to nothing, is answered 408 after the stalled time, and nothing is stored."""
    async with start_harness(stalled_client_seconds=0.3) as harness:
        assert b" 408 " in await dripped(harness, *CASES[case])
        assert harness.filestore.files == {} and harness.scheduler.tasks == {}
        await harness.filestore.wait_for(lambda: harness.filestore.uploads_open == 0)


@pytest.mark.trial("10.19")
async def test_a_key_that_is_no_text_is_unknown(start_harness: StartHarness) -> None:
    """A byte that is no UTF-8 in X-API-Key: 401, as any other wrong key."""
    from tests.gateway.test_access import KEYS

    async with start_harness(api_keys=KEYS) as harness:
        host, _, port = harness.address.partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /v1/tasks HTTP/1.1\r\nHost: localhost\r\nX-API-Key: yiv_\xff\r\n\r\n")
        assert b" 401 " in await asyncio.wait_for(reader.readline(), 10)
        writer.close()


@pytest.mark.trial("10.19")
async def test_a_folder_longer_than_any_path_is_refused(harness: Harness) -> None:
    """A shared path of 5,000 characters: 400."""
    for path in ("/share/" + "x" * 5000, "/share/" + "x/" * 2500):
        async with harness.http.delete("/v1/files/directories", params={"directory_path": path}) as response:
            assert response.status == 400, await response.text()
