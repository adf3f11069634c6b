"""Uploads and downloads that the gateway writes and reads itself, in the folder of a real filestore on this machine."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import stat
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client import REGISTRY

from filestore.local import LocalBackend
from filestore.servicer import SERVICE, FileServicer
from filestore.settings import FilestoreSection
from filestore.store import FileStore
from filestore.wire import add_file_service
from runtime.server import RpcServer
from tests.gateway.conftest import RUNTIME, Harness, StartHarness

MIB = 1024 * 1024
FILM = os.urandom(MIB) * 18 + b"end"
"""Longer than what is read past the page cache, and no multiple of any block."""


@dataclass
class Shared:
    """A gateway and a real filestore that share a disk."""

    harness: Harness
    root: Path
    server: RpcServer

    def calls(self, method: str) -> float:
        """Calls of a FileService method so far."""
        labels = {"grpc_service": SERVICE, "grpc_method": method}
        return REGISTRY.get_sample_value("grpc_server_started_total", labels) or 0.0

    def ended(self, method: str, code: str) -> float:
        """Calls of a FileService method that have ended so."""
        labels = {"grpc_service": SERVICE, "grpc_method": method, "grpc_code": code}
        return REGISTRY.get_sample_value("grpc_server_handled_total", labels) or 0.0

    def leftovers(self) -> list[Path]:
        """What is being written."""
        return list((self.root / "partial").iterdir())

    async def cleaned(self) -> None:
        """Wait until nothing is being written."""
        async with asyncio.timeout(10):
            while self.leftovers():
                await asyncio.sleep(0.01)


StartShared = Callable[..., AbstractAsyncContextManager[Shared]]


@pytest.fixture
def start(start_harness: StartHarness, tmp_path: Path) -> StartShared:
    """Return what starts both, with settings of the test's own."""

    @asynccontextmanager
    async def starting(store: dict[str, Any] | None = None, **gateway: Any) -> AsyncIterator[Shared]:
        backend = LocalBackend(tmp_path / "store")
        await backend.start("yivideo")
        files = FileStore(backend, FilestoreSection(**(store or {})))
        await files.recount()
        server = RpcServer(RUNTIME)
        server.add(add_file_service, FileServicer(files), SERVICE)
        async with server.running() as address:
            options = {"in_place_upload_bytes": MIB, "filestore_address": address, **gateway}
            async with start_harness(**options) as harness:
                yield Shared(harness, tmp_path / "store", server)
        await backend.aclose()

    return starting


@pytest.fixture
async def shared(start: StartShared) -> AsyncIterator[Shared]:
    """Both with default settings."""
    async with start() as made:
        yield made


def body(content: bytes) -> io.BytesIO:
    """A request body of a known length."""
    return io.BytesIO(content)


def form(content: bytes, path: str) -> aiohttp.FormData:
    """An upload form."""
    made = aiohttp.FormData()
    made.add_field("file_path", path)
    made.add_field("file", body(content), filename="film.mp4", content_type="video/mp4")
    return made


@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize("how", ["raw", "form"])
async def test_an_upload_is_answered_with_its_crc32(start: StartShared, how: str, in_place: bool) -> None:
    """By whatever way the bytes go: the CRC-32 of what came, in eight digits, where it was asked for, and else null."""
    of_film = zlib.crc32(FILM)
    ends = (str(number).encode() for number in range(10_000))
    content = FILM + next(end for end in ends if zlib.crc32(end, of_film) < 1 << 28)  # it begins with a zero
    async with start(in_place_upload_bytes=MIB if in_place else 0) as shared:
        before = shared.calls("UploadInPlace")
        for headers, crc32 in (({"X-Want-Checksum": "CRC32"}, f"{zlib.crc32(content):08x}"), ({}, None)):
            if how == "raw":
                sending = shared.harness.http.put("/v1/files/film", data=body(content), headers=headers)
            else:
                film = form(content, "film")
                sending = shared.harness.http.post("/v1/files/upload", data=film, headers=headers)
            async with sending as response:
                assert (await response.json())["crc32"] == crc32
        assert shared.calls("UploadInPlace") - before == (2 if in_place else 0)


async def fetched(harness: Harness, path: str, **headers: str) -> tuple[int, bytes]:
    """Download."""
    async with harness.http.get(f"/v1/files/download/{path}", headers=headers) as response:
        return response.status, await response.read()


@pytest.mark.trial("10.6")
async def test_a_large_file_goes_past_the_filestore_both_ways(shared: Shared) -> None:
    """By form and raw: the same bytes and checksum back, and not one of them was sent to or by the filestore."""
    before = [shared.calls(method) for method in ("Upload", "Download", "UploadInPlace", "LocateFile")]
    ends = shared.ended("UploadInPlace", "OK"), shared.ended("UploadInPlace", "CANCELLED")
    async with shared.harness.http.post("/v1/files/upload", data=form(FILM, "a/form.mp4")) as response:
        assert (response.status, (await response.json())["sha256"]) == (200, hashlib.sha256(FILM).hexdigest())
    async with shared.harness.http.put("/v1/files/a/raw.mp4", data=body(FILM)) as response:
        assert (response.status, (await response.json())["size"]) == (200, len(FILM))
    for path in ("a/form.mp4", "a/raw.mp4"):
        assert await fetched(shared.harness, path) == (200, FILM)
    after = [shared.calls(method) for method in ("Upload", "Download", "UploadInPlace", "LocateFile")]
    assert [b - a for a, b in zip(before, after, strict=True)] == [0, 0, 2, 2]
    assert (
        shared.ended("UploadInPlace", "OK") - ends[0],
        shared.ended("UploadInPlace", "CANCELLED") - ends[1],
    ) == (2, 0)
    assert shared.leftovers() == []


@pytest.mark.parametrize("span", [(0, 0), (5, 5_000_000), (4095, 4097), (17_000_001, len(FILM) - 1)])
async def test_ranges(shared: Shared, span: tuple[int, int]) -> None:
    """Every range is exactly those bytes, whether it is read directly or not."""
    async with shared.harness.http.put("/v1/files/f", data=body(FILM)) as response:
        assert response.status == 200
    first, last = span
    wanted = f"bytes={first}-{last}"
    assert await fetched(shared.harness, "f", Range=wanted) == (206, FILM[first : last + 1])
    status, _ = await fetched(shared.harness, "f", Range=f"bytes={len(FILM)}-")
    assert status == 416


async def test_small_files_are_sent(shared: Shared) -> None:
    """Below the threshold the one message is cheaper; the download works as well."""
    before = shared.calls("Upload")
    async with shared.harness.http.put("/v1/files/small", data=b"abc") as response:
        assert response.status == 200
    assert shared.calls("Upload") == before + 1
    assert await fetched(shared.harness, "small") == (200, b"abc")


async def test_what_the_store_says_against_it_reaches_the_client(start: StartShared) -> None:
    """A bad path, a file that exists, a full bucket, a file that is too large: the code as ever, nothing left."""
    async with start({"quota_mib": 21, "max_file_mib": 19}) as shared:
        http = shared.harness.http

        async def put(path: str, content: bytes, **headers: str) -> tuple[int, str]:
            async with http.put(f"/v1/files/{path}", data=body(content), headers=headers) as response:
                return response.status, (await response.json()).get("code", "")

        async with http.post("/v1/files/upload", data=form(FILM, "../x")) as response:
            assert (response.status, (await response.json())["code"]) == (400, "PATH_REFUSED")
        assert await put("a", FILM) == (200, "")
        assert await put("a", FILM[: 2 * MIB], **{"If-None-Match": "*"}) == (409, "FILE_EXISTS")
        assert (await put("b", FILM))[1] == "QUOTA_EXCEEDED"
        async with http.post("/v1/files/upload", data=form(FILM, "b")) as response:
            assert (response.status, (await response.json())["code"]) == (507, "QUOTA_EXCEEDED")
        assert (await put("c", FILM + bytes(2 * MIB)))[0] == 413
        await shared.cleaned()
        assert await fetched(shared.harness, "a") == (200, FILM)


async def test_a_client_that_goes_leaves_nothing(shared: Shared) -> None:
    """Cut off in mid-upload: the lent file goes, and the gateway holds no descriptor of it."""
    written = asyncio.Event()

    async def cut() -> AsyncIterator[bytes]:
        for _ in range(9):
            yield FILM[:MIB]
        written.set()
        await asyncio.Event().wait()

    headers = {"Content-Length": str(64 * MIB)}
    sending = asyncio.ensure_future(shared.harness.http.put("/v1/files/cut", data=cut(), headers=headers))
    await written.wait()
    async with asyncio.timeout(10):
        while not any(path.stat().st_size for path in shared.leftovers()):
            await asyncio.sleep(0.01)
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    await shared.cleaned()
    async with asyncio.timeout(10):
        while _open_under(shared.root / "partial"):
            await asyncio.sleep(0.01)
    assert (await fetched(shared.harness, "cut"))[0] == 404


def _open_under(folder: Path) -> list[str]:
    """Descriptors of this process that lead into a folder, also to files that are gone."""
    held = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            target = str(entry.readlink())
        except FileNotFoundError:
            continue
        if target.startswith(str(folder)):
            held.append(target)
    return held


async def test_a_filestore_that_dies_breaks_the_upload(shared: Shared) -> None:
    """The answer is 503, and the file is not there when the store is back."""

    async def slow() -> AsyncIterator[bytes]:
        for _ in range(9):
            yield FILM[:MIB]
        await shared.server.drain()
        for _ in range(9):
            yield FILM[:MIB]

    headers = {"Content-Length": str(18 * MIB)}
    async with shared.harness.http.put("/v1/files/broken", data=slow(), headers=headers) as response:
        assert response.status == 503


async def test_another_machine_is_sent_the_bytes(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lent or located path that does not open here: the bytes are sent, nothing is lost, and it is not tried each time."""
    real = os.open

    def elsewhere(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        mine = str(path).startswith(str(shared.root)) and not flags & (os.O_CREAT | os.O_DIRECTORY)
        by_gateway = flags & os.O_WRONLY or _called_from("read_in_place")
        if mine and by_gateway:
            raise FileNotFoundError(2, "not here")
        return real(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", elsewhere)
    before = [shared.calls(each) for each in ("Upload", "Download", "UploadInPlace", "LocateFile")]
    for path in ("a", "b"):
        async with shared.harness.http.put(f"/v1/files/{path}", data=body(FILM)) as response:
            assert response.status == 200
        assert await fetched(shared.harness, path) == (200, FILM)
    after = [shared.calls(each) for each in ("Upload", "Download", "UploadInPlace", "LocateFile")]
    assert [b - a for a, b in zip(before, after, strict=True)] == [2, 2, 1, 1]
    assert shared.leftovers() == []


def _called_from(module: str) -> bool:
    import inspect

    return any(module in frame.filename for frame in inspect.stack())


async def test_a_link_in_the_place_of_a_content_is_not_followed(shared: Shared) -> None:
    """Somebody who can write to the folder still cannot make the gateway read another file."""
    async with shared.harness.http.put("/v1/files/f", data=body(FILM)) as response:
        assert response.status == 200
    [blob] = [path for path in (shared.root / "blobs").rglob("*") if path.is_file()]
    secret = shared.root.parent / "secret"
    secret.write_bytes(FILM)
    blob.unlink()
    blob.symlink_to(secret)
    status, got = await fetched(shared.harness, "f")
    assert status >= 500
    assert FILM[:100] not in got


async def test_a_full_disk_is_told(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    """ENOSPC where the gateway writes is the store's DISK_FULL, a 507, and nothing is left."""
    real = os.write

    def full(file: int, data: Any) -> int:
        if stat.S_ISREG(os.fstat(file).st_mode) and len(data) > MIB:
            raise OSError(28, "No space left on device")
        return real(file, data)

    monkeypatch.setattr(os, "write", full)
    async with shared.harness.http.put("/v1/files/f", data=body(FILM)) as response:
        assert (response.status, (await response.json())["code"]) == (507, "DISK_FULL")
    await shared.cleaned()
    monkeypatch.undo()
    assert (await fetched(shared.harness, "f"))[0] == 404
