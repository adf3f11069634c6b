"""UploadInPlace and LocateFile over real gRPC: a writer and a reader on the store's machine, and what they may not do."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from filestore.local import LocalBackend
from filestore.settings import FilestoreSection
from filestore.store import FileStore
from runtime import errors
from runtime.rpc_errors import rpc_errors
from tests.filestore.test_servicer import served
from yivideo.file.v1 import file_pb2 as pb

MIB = 1024 * 1024
CONTENT = bytes(range(256)) * 5000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
BUCKET = "in-place"


class Writer:
    """A caller that fills a lent file."""

    def __init__(self, stub: Any, path: str = "t/film.mp4", **header: Any) -> None:
        self.call = stub.UploadInPlace(timeout=30)
        self._header = pb.UploadHeader(path=path, **header)

    async def lent(self) -> Path:
        """Send the header and return the file to fill."""
        async with rpc_errors():
            await self.call.write(pb.UploadInPlaceRequest(header=self._header))
            answer = await self.call.read()
        assert answer.WhichOneof("payload") == "lent"
        return Path(answer.lent.path)

    async def progress(self, size: int) -> int:
        """Ask to go that far."""
        async with rpc_errors():
            await self.call.write(pb.UploadInPlaceRequest(progress=pb.UploadProgress(size_bytes=size)))
            covered: int = (await self.call.read()).covered.size_bytes
        return covered

    async def commit(self, size: int = len(CONTENT), sha256: str = SHA256) -> pb.File:
        """Say that all is written."""
        trailer = pb.UploadInPlaceTrailer(size_bytes=size, sha256=sha256)
        async with rpc_errors():
            await self.call.write(pb.UploadInPlaceRequest(trailer=trailer))
            answer = await self.call.read()
            assert await self.call.read() is grpc.aio.EOF
        file: pb.File = answer.file
        return file


class Room:
    """A store in a folder, served."""

    def __init__(self, stub: Any, root: Path) -> None:
        self.stub = stub
        self._root = root

    def leftovers(self) -> list[str]:
        """Every file that is being written, and every blob."""
        folders = (self._root / "partial", self._root / "blobs")
        return [path.name for folder in folders for path in folder.rglob("*") if path.is_file()]

    async def paths(self) -> list[str]:
        """Every stored path."""
        return [file.path for file in (await self.stub.ListFiles(pb.ListFilesRequest(recursive=True))).files]

    async def empty(self) -> bool:
        """Whether nothing is stored and nothing lies about, once the server has noticed the caller's end."""
        for _ in range(500):
            if not self.leftovers():
                break
            await asyncio.sleep(0.01)
        return not self.leftovers() and not await self.paths()


Serve = Callable[..., Any]


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    """Return a block that serves a new folder with given settings."""

    @asynccontextmanager
    async def serving(**options: Any) -> AsyncIterator[Room]:
        backend = LocalBackend(tmp_path / "store")
        await backend.start(BUCKET)
        store = FileStore(backend, FilestoreSection(default_bucket=BUCKET, **options))
        await store.recount()
        async with served(store) as stub:
            yield Room(stub, tmp_path / "store")
        await backend.aclose()

    return serving


@pytest.fixture
async def room(serve: Serve) -> AsyncIterator[Room]:
    """A room with the default settings."""
    async with serve() as made:
        yield made


@pytest.mark.parametrize("announced", [True, False])
async def test_a_filled_file_appears_at_the_trailer(room: Room, announced: bool) -> None:
    """Invisible while it is filled, then there with size and checksum; a reader finds the content where LocateFile says."""
    header: dict[str, Any] = {"size_bytes": len(CONTENT), "sha256": SHA256} if announced else {}
    writer = Writer(room.stub, **header)
    path = await writer.lent()
    path.write_bytes(CONTENT)
    assert await writer.progress(len(CONTENT)) == len(CONTENT)
    assert await room.paths() == []
    file = await writer.commit()
    assert (file.path, file.size_bytes, file.sha256) == ("t/film.mp4", len(CONTENT), SHA256)
    assert (file.bucket, file.content_type) == (BUCKET, "video/mp4")
    found = await room.stub.LocateFile(pb.LocateFileRequest(path="t/film.mp4"))
    assert found.file == file
    assert Path(found.local_path).read_bytes() == CONTENT


async def test_what_lies_behind_the_end_is_cut_off(room: Room) -> None:
    """A writer that wrote more than it commits gets the file that it committed."""
    writer = Writer(room.stub)
    (await writer.lent()).write_bytes(CONTENT + b"more")
    await writer.commit()
    message = [each async for each in room.stub.Download(pb.DownloadRequest(path="t/film.mp4"))]
    assert b"".join(each.chunk for each in message) == CONTENT


async def test_an_older_version_stays_with_who_has_it_open(room: Room) -> None:
    """Replacing a file takes its content from the disk, not from a reader's descriptor."""
    first = Writer(room.stub)
    (await first.lent()).write_bytes(CONTENT)
    await first.commit()
    found = await room.stub.LocateFile(pb.LocateFileRequest(path="t/film.mp4"))
    with Path(found.local_path).open("rb") as held:
        second = Writer(room.stub)
        (await second.lent()).write_bytes(b"new")
        await second.commit(3, hashlib.sha256(b"new").hexdigest())
        assert held.read() == CONTENT
    assert not Path(found.local_path).exists()


@pytest.mark.parametrize(
    ("header", "size", "sha256", "field"),
    [
        ({"size_bytes": 5}, len(CONTENT), SHA256, "/size_bytes"),
        ({"sha256": "0" * 64}, len(CONTENT), SHA256, "/sha256"),
        ({}, len(CONTENT) + 1, SHA256, "/trailer/size_bytes"),
        ({}, len(CONTENT), "", "/trailer/sha256"),
        ({}, len(CONTENT), "xyz", "/sha256"),
        ({}, 0, SHA256, "/chunk"),
        ({}, -1, SHA256, "/size_bytes"),
    ],
)
async def test_what_does_not_fit_is_refused(
    room: Room, header: dict[str, Any], size: int, sha256: str, field: str
) -> None:
    """A size or checksum that was not announced, is not on the disk, or is none: the field is named, nothing is left."""
    writer = Writer(room.stub, **header)
    (await writer.lent()).write_bytes(CONTENT)
    with pytest.raises(errors.InvalidArgument) as caught:
        await writer.commit(size, sha256)
    assert [violation.pointer for violation in caught.value.fields] == [field]
    assert await room.empty()


async def test_a_writer_that_goes_leaves_nothing(room: Room) -> None:
    """Cancelled, or ended without a trailer, at any point: no file, no rest on the disk."""
    cancelled = Writer(room.stub)
    (await cancelled.lent()).write_bytes(CONTENT)
    cancelled.call.cancel()
    assert await room.empty()
    ended = Writer(room.stub)
    (await ended.lent()).write_bytes(CONTENT)
    await ended.call.done_writing()
    with pytest.raises(errors.InvalidArgument):
        async with rpc_errors():
            await ended.call.read()
    assert await room.empty()


async def test_a_silent_writer_is_dropped(serve: Serve) -> None:
    """Nothing said for the idle time: DEADLINE_EXCEEDED, and the file is gone."""
    async with serve(idle_timeout_seconds=0.2) as room:
        writer = Writer(room.stub)
        await writer.lent()
        with pytest.raises(errors.DeadlineExceeded):
            async with rpc_errors():
                await writer.call.read()
        assert await room.empty()


async def test_limits_hold_for_a_writer(serve: Serve) -> None:
    """Quota and largest size stop it when it says how far it goes, and when it commits more than it said."""
    async with serve(quota_mib=2, max_file_mib=1) as room:
        with pytest.raises(errors.PayloadTooLarge):
            await Writer(room.stub, size_bytes=2 * MIB).lent()
        for path in ("a", "b"):
            writer = Writer(room.stub, path=path)
            (await writer.lent()).write_bytes(b"x" * (MIB - 1))
            await writer.commit(MIB - 1)
        greedy = Writer(room.stub, path="c")
        await greedy.lent()
        with pytest.raises(errors.QuotaExceeded):
            await greedy.progress(5000)
        sly = Writer(room.stub, path="d")
        (await sly.lent()).write_bytes(b"x" * 5000)
        with pytest.raises(errors.QuotaExceeded):
            await sly.commit(5000)
        large = Writer(room.stub, path="e")
        await large.lent()
        with pytest.raises(errors.PayloadTooLarge):
            await large.progress(MIB + 1)
        assert await room.paths() == ["a", "b"]
        await room.stub.DeleteFile(pb.DeleteFileRequest(path="a"))
        again = Writer(room.stub, path="c")
        (await again.lent()).write_bytes(b"x" * 5000)
        assert (await again.commit(5000)).size_bytes == 5000


async def test_writers_take_places_among_the_transfers(serve: Serve) -> None:
    """max_transfers counts them; one that ends frees its place."""
    async with serve(max_transfers=1) as room:
        first = Writer(room.stub, path="a")
        await first.lent()
        with pytest.raises(errors.ResourceExhausted):
            await Writer(room.stub, path="b").lent()
        first.call.cancel()
        assert await room.empty()
        second = Writer(room.stub, path="b")
        (await second.lent()).write_bytes(CONTENT)
        await second.commit()


async def test_if_absent(room: Room) -> None:
    """A file that exists is kept, and the late writer's is dropped."""
    for expected in (None, errors.FileExists):
        writer = Writer(room.stub, if_absent=True)
        (await writer.lent()).write_bytes(CONTENT)
        if expected is None:
            await writer.commit()
        else:
            with pytest.raises(expected):
                await writer.commit()
    assert len(room.leftovers()) == 1


async def test_out_of_order(room: Room) -> None:
    """No header first, or a second one: INVALID_ARGUMENT at /header."""
    call = room.stub.UploadInPlace(timeout=30)
    await call.write(pb.UploadInPlaceRequest(progress=pb.UploadProgress(size_bytes=1)))
    with pytest.raises(errors.InvalidArgument):
        async with rpc_errors():
            await call.read()
    twice = Writer(room.stub)
    await twice.lent()
    await twice.call.write(pb.UploadInPlaceRequest(header=pb.UploadHeader(path="x")))
    with pytest.raises(errors.InvalidArgument) as caught:
        async with rpc_errors():
            await twice.call.read()
    assert caught.value.fields[0].pointer == "/header"
    assert await room.empty()


async def test_locating_what_is_not_there(room: Room) -> None:
    """NOT_FOUND, and a path that leaves is refused."""
    for path, error in (("none", errors.FileNotFound), ("../x", errors.PathRefused)):
        with pytest.raises(error):
            async with rpc_errors():
                await room.stub.LocateFile(pb.LocateFileRequest(path=path))


@pytest.mark.s3
@pytest.mark.timeout(300)
async def test_an_object_store_lends_nothing(s3_section: Any, bucket: str) -> None:
    """FAILED_PRECONDITION for both, so that callers send and fetch the bytes."""
    from filestore.s3 import S3Backend

    backend = S3Backend(s3_section)
    await backend.start(bucket)
    async with served(FileStore(backend, FilestoreSection(default_bucket=bucket))) as stub:
        with pytest.raises(errors.WrongState):
            await Writer(stub).lent()
        with pytest.raises(errors.WrongState):
            async with rpc_errors():
                await stub.LocateFile(pb.LocateFileRequest(path="x"))
    await backend.aclose()
