"""FileService over real gRPC, over both backends: every RPC, its errors, and what happens when a caller goes away."""

from __future__ import annotations

import asyncio
import hashlib
import os
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from prometheus_client import REGISTRY

from filestore.backend import Backend, FileInfo, NewFile
from filestore.local import LocalBackend
from filestore.servicer import SERVICE, FileServicer
from filestore.settings import FilestoreSection
from filestore.store import FileStore
from filestore.wire import add_file_service
from runtime import errors
from runtime.channel import open_channel
from runtime.refusal import answered
from runtime.rpc_errors import rpc_errors
from runtime.server import RpcServer
from runtime.settings import RuntimeSection
from yivideo.file.v1 import file_pb2 as pb
from yivideo.file.v1 import file_pb2_grpc

MIB = 1024 * 1024
LARGE = os.urandom(7 * MIB + 3)

Stub = Any
Serve = Callable[..., AbstractAsyncContextManager[Stub]]


@asynccontextmanager
async def served(store: FileStore) -> AsyncIterator[Stub]:
    """Serve a store; gives a stub that knows its `address`."""
    settings = RuntimeSection(drain_seconds=0)
    server = RpcServer(settings)
    server.add(add_file_service, FileServicer(store), SERVICE)
    async with server.running() as address, open_channel(address, settings) as channel:
        stub: Any = file_pb2_grpc.FileServiceStub(channel)
        stub.address = address
        yield stub


@pytest.fixture
def serve(backend: Backend, bucket: str) -> Serve:
    """Return a block that serves the backend with given settings and gives a stub."""

    @asynccontextmanager
    async def serving(**options: Any) -> AsyncIterator[Stub]:
        store = FileStore(backend, FilestoreSection(default_bucket=bucket, **options))
        await store.recount()
        async with served(store) as stub:
            yield stub

    return serving


@pytest.fixture
async def stub(serve: Serve) -> AsyncIterator[Stub]:
    """A stub of a server with the default settings."""
    async with serve() as made:
        yield made


async def messages(
    content: bytes, path: str = "f", size: int = 256 * 1024, **header: Any
) -> AsyncIterator[pb.UploadRequest]:
    """Send a header, the content and the trailer."""
    yield pb.UploadRequest(header=pb.UploadHeader(path=path, **header))
    for start in range(0, len(content), size):
        yield pb.UploadRequest(chunk=content[start : start + size])
    yield pb.UploadRequest(trailer=pb.UploadTrailer(size_bytes=len(content)))


async def unending(content: bytes, path: str, sent: asyncio.Event) -> AsyncIterator[pb.UploadRequest]:
    """Send a header and the content, say so, and never end."""
    async for message in messages(content, path, 50_000):
        if not message.HasField("trailer"):
            yield message
    sent.set()
    await asyncio.Event().wait()


async def upload(stub: Stub, content: bytes, path: str = "f", **header: Any) -> pb.File:
    """Upload and return the file; raises our errors."""
    async with rpc_errors():
        answer: pb.UploadResponse = await answered(stub.Upload(messages(content, path, **header), timeout=60))
        return answer.file


async def download(stub: Stub, **request: Any) -> tuple[pb.DownloadHeader, bytes]:
    """Download and return header and bytes; raises our errors."""
    async with rpc_errors():
        received = [message async for message in stub.Download(pb.DownloadRequest(**request), timeout=60)]
    assert received[0].WhichOneof("payload") == "header"
    assert all(0 < len(message.chunk) <= MIB for message in received[1:])
    return received[0].header, b"".join(message.chunk for message in received[1:])


async def paths(stub: Stub) -> list[str]:
    """Return every path in the default bucket."""
    return [file.path for file in (await stub.ListFiles(pb.ListFilesRequest(recursive=True))).files]


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so, at most ten seconds."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


def transfers(direction: str) -> float:
    """Return how many transfers are under way."""
    return REGISTRY.get_sample_value("yivideo_filestore_transfers", {"direction": direction}) or 0.0


async def test_up_and_down(stub: Stub, bucket: str) -> None:
    """What is uploaded is described alike by Upload, StatFile, ListFiles and Download, and comes back whole."""
    checksum = hashlib.sha256(LARGE).hexdigest()
    file = await upload(stub, LARGE, "task-1/film.mp4", sha256=checksum, size_bytes=len(LARGE))
    assert (file.bucket, file.path, file.size_bytes, file.sha256) == (
        bucket,
        "task-1/film.mp4",
        len(LARGE),
        checksum,
    )
    assert file.content_type == "video/mp4"
    assert (await stub.StatFile(pb.StatFileRequest(path=file.path))).file == file
    header, content = await download(stub, path=file.path)
    assert content == LARGE
    assert (header.file, header.offset_bytes, header.length_bytes) == (file, 0, len(LARGE))
    [listed] = (await stub.ListFiles(pb.ListFilesRequest(prefix="task-1/"))).files
    assert (listed.path, listed.size_bytes, listed.etag) == (file.path, file.size_bytes, file.etag)


async def test_a_crc32_of_what_came(stub: Stub) -> None:
    """An answer has the CRC-32 of the bytes that came, 0 of none included, where the header wants it, and nowhere else."""
    for content in (LARGE, b""):
        for wanted, crc32 in ((True, zlib.crc32(content)), (False, None)):
            sent = messages(content, want_crc32=wanted, allow_empty=True)
            answer: pb.UploadResponse = await answered(stub.Upload(sent, timeout=60))
            assert (answer.crc32 if answer.HasField("crc32") else None) == crc32


async def test_ranges(stub: Stub) -> None:
    """Offsets, lengths, suffixes and a stale If-Range, as the contract says."""
    file = await upload(stub, LARGE[:1000])
    for asked, offset, length in (
        ({"offset_bytes": 10, "length_bytes": 5}, 10, 5),
        ({"offset_bytes": 990, "length_bytes": 50}, 990, 10),
        ({"offset_bytes": -7}, 993, 7),
        ({"offset_bytes": 10, "if_range_etag": "stale"}, 0, 1000),
        ({"offset_bytes": 10, "if_range_etag": file.etag}, 10, 990),
    ):
        header, content = await download(stub, path="f", **asked)
        assert (header.offset_bytes, header.length_bytes) == (offset, length)
        assert content == LARGE[offset : offset + length]
    with pytest.raises(errors.RangeRefused):
        await download(stub, path="f", offset_bytes=1000)
    with pytest.raises(errors.InvalidArgument):
        await download(stub, path="f", length_bytes=-1)


async def test_an_empty_file(stub: Stub) -> None:
    """An empty file is refused unless allowed, and then downloads as a header alone."""
    with pytest.raises(errors.InvalidArgument):
        await upload(stub, b"")
    await upload(stub, b"", allow_empty=True)
    header, content = await download(stub, path="f")
    assert (header.length_bytes, content) == (0, b"")


BAD_HEADERS: list[tuple[dict[str, Any], type[errors.YiVideoError]]] = [
    ({"path": "../x"}, errors.PathRefused),
    ({"path": "/x"}, errors.PathRefused),
    ({"path": ""}, errors.PathRefused),
    ({"path": "x", "bucket": "No_Bucket"}, errors.InvalidArgument),
    ({"path": "x", "sha256": "zz"}, errors.InvalidArgument),
    ({"path": "x", "sha256": "0" * 64}, errors.InvalidArgument),
    ({"path": "x", "size_bytes": 5}, errors.InvalidArgument),
    ({"path": "x", "size_bytes": -1}, errors.InvalidArgument),
    ({"path": "x", "content_type": "a/b\r\nc: d"}, errors.InvalidArgument),
]


@pytest.mark.parametrize(("header", "kind"), BAD_HEADERS)
async def test_bad_headers_are_refused(
    stub: Stub, header: dict[str, Any], kind: type[errors.YiVideoError]
) -> None:
    """A bad name, checksum, size or type is the documented error, and nothing is written."""
    with pytest.raises(kind):
        await upload(stub, b"123", **header)
    assert await paths(stub) == []


async def test_bad_streams_are_refused(stub: Stub) -> None:
    """No header, a second one, an empty message, a chunk over 2 MiB, no trailer or a false one: refused, nothing written."""
    header = pb.UploadRequest(header=pb.UploadHeader(path="x"))
    chunk = pb.UploadRequest(chunk=b"1")
    for stream in (
        [],
        [chunk],
        [pb.UploadRequest()],
        [header, chunk, header],
        [header, chunk],
        [header, chunk, pb.UploadRequest(trailer=pb.UploadTrailer(size_bytes=2))],
        [header, chunk, pb.UploadRequest()],
        [header, pb.UploadRequest(chunk=bytes(2 * MIB + 1))],
    ):
        with pytest.raises(errors.InvalidArgument):
            async with rpc_errors():
                await stub.Upload(iter(stream), timeout=30)
    assert await paths(stub) == []


async def test_if_absent(stub: Stub) -> None:
    """The second writer is told FILE_EXISTS and the first file stays."""
    await upload(stub, b"1", if_absent=True)
    with pytest.raises(errors.FileExists):
        await upload(stub, b"2", if_absent=True)
    assert (await download(stub, path="f"))[1] == b"1"


@pytest.mark.parametrize("size", [100_000, 6 * MIB], ids=["small", "multipart"])
async def test_a_client_that_goes_away_leaves_nothing(
    stub: Stub, backend: Backend, bucket: str, size: int
) -> None:
    """An upload whose call is cancelled at any moment, with nothing announced, never becomes a file cut short.

    gRPC ends the request stream of a cancelled call like that of a finished one, so this is tried at many moments.
    """
    for attempt in range(30 if size < MIB else 5):
        begun = asyncio.Event()
        call = stub.Upload(unending(LARGE[:size], f"cut-{attempt}", begun), timeout=30)
        await begun.wait()
        for _ in range(attempt % 7):
            await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    await until(lambda: transfers("up") == 0)
    assert await paths(stub) == []
    assert await backend.clean(bucket, -60) == 0


class ListeningStore(FileStore):
    """A store that only notes which uploads it was told are complete, the instant it is told."""

    ended = 0

    async def put(self, file: NewFile, chunks: AsyncIterator[bytes | memoryview]) -> FileInfo:
        async for _ in chunks:
            pass
        self.ended += 1
        raise errors.WrongState("this store keeps nothing")


async def test_the_end_of_a_cancelled_call_is_no_end_of_a_file(tmp_path: Path) -> None:
    """The store never hears that the stream of a cancelled call is complete, not even for an instant.

    Without the trailer about every third of these calls looks complete before its cancellation is known.
    """
    store = ListeningStore(LocalBackend(tmp_path), FilestoreSection())
    async with served(store) as stub:
        for attempt in range(60):
            begun = asyncio.Event()
            call = stub.Upload(unending(LARGE[:300_000], f"cut-{attempt}", begun), timeout=30)
            await begun.wait()
            for _ in range(attempt % 7):
                await asyncio.sleep(0)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
        with pytest.raises(errors.WrongState):
            await upload(stub, b"whole")
    assert store.ended == 1


async def test_a_connection_that_breaks_leaves_nothing(serve: Serve, backend: Backend, bucket: str) -> None:
    """Closing the client's channel in the middle of an upload is a cancellation, not an end."""
    async with serve() as stub:
        for attempt in range(10):
            sent = asyncio.Event()
            channel = grpc.aio.insecure_channel(stub.address)
            call = file_pb2_grpc.FileServiceStub(channel).Upload(
                unending(LARGE[:300_000], f"cut-{attempt}", sent)
            )
            await sent.wait()
            await channel.close(0)
            with pytest.raises((asyncio.CancelledError, grpc.aio.AioRpcError)):
                await call
        await until(lambda: transfers("up") == 0)
        assert await paths(stub) == []
        assert await backend.clean(bucket, -60) == 0


async def test_a_downloader_that_goes_away_frees_its_place(stub: Stub) -> None:
    """Cancelling a download after one message ends it at the server."""
    await upload(stub, LARGE)
    for _ in range(5):
        call = stub.Download(pb.DownloadRequest(path="f"), timeout=30)
        await call.read()
        call.cancel()
    await until(lambda: transfers("down") == 0)


async def test_stalled_callers_are_dropped(serve: Serve) -> None:
    """An upload that sends nothing, and a download that takes nothing, end after the idle time and free their places."""
    async with serve(idle_timeout_seconds=0.3) as stub:

        async def stalled() -> AsyncIterator[pb.UploadRequest]:
            async for message in unending(b"123", "never", asyncio.Event()):
                yield message

        with pytest.raises(errors.DeadlineExceeded):
            async with rpc_errors():
                await stub.Upload(stalled(), timeout=30)
        assert await paths(stub) == []
        await upload(stub, os.urandom(24 * MIB), "large")
        call = stub.Download(pb.DownloadRequest(path="large"), timeout=30)
        await call.read()
        await until(lambda: transfers("down") == 1)
        await until(lambda: transfers("down") == 0)
        call.cancel()


async def test_too_many_transfers_are_told_to_come_again(serve: Serve) -> None:
    """With all places taken a transfer is refused with a time to come again; a freed place is given again."""
    async with serve(max_transfers=1) as stub:
        going = asyncio.Event()

        async def held() -> AsyncIterator[pb.UploadRequest]:
            async for message in messages(b"123", "first"):
                if message.HasField("trailer"):
                    await going.wait()
                yield message

        first = asyncio.ensure_future(stub.Upload(held(), timeout=30))
        await until(lambda: transfers("up") == 1)
        with pytest.raises(errors.ResourceExhausted) as caught:
            await upload(stub, b"1", "second")
        assert caught.value.retry_after_seconds == 1.0
        assert type(caught.value) is errors.ResourceExhausted
        going.set()
        await first
        await upload(stub, b"1", "second")
        assert await paths(stub) == ["first", "second"]


async def test_quota(serve: Serve) -> None:
    """What does not fit is refused, announced or not, alone or together with others; a delete makes room again."""
    async with serve(quota_mib=8) as stub:
        await upload(stub, LARGE[: 5 * MIB], "kept")
        for announced in ({"size_bytes": 4 * MIB}, {}):
            with pytest.raises(errors.QuotaExceeded):
                await upload(stub, LARGE[: 4 * MIB], "refused", **announced)
        both = await asyncio.gather(
            upload(stub, LARGE[: 2 * MIB], "one", size_bytes=2 * MIB),
            upload(stub, LARGE[: 2 * MIB], "two", size_bytes=2 * MIB),
            return_exceptions=True,
        )
        assert sorted(type(each).__name__ for each in both) == ["File", "QuotaExceeded"]
        storage = await stub.GetStorage(pb.GetStorageRequest())
        assert (storage.used_bytes, storage.file_count, storage.quota_bytes) == (7 * MIB, 2, 8 * MIB)
        await stub.DeleteFile(pb.DeleteFileRequest(path="kept"))
        await upload(stub, LARGE[: 5 * MIB], "fits")
        assert "refused" not in await paths(stub)


async def test_a_file_over_the_limit(serve: Serve) -> None:
    """A file larger than the limit is PAYLOAD_TOO_LARGE, announced or found out, and leaves nothing."""
    async with serve(max_file_mib=6) as stub:
        wishes: tuple[dict[str, Any], ...] = ({"size_bytes": len(LARGE)}, {})
        for announced in wishes:
            with pytest.raises(errors.PayloadTooLarge):
                await upload(stub, LARGE, **announced)
        assert await paths(stub) == []
        await upload(stub, LARGE[: 6 * MIB])


async def test_other_buckets_only_when_allowed(serve: Serve, bucket: str) -> None:
    """With a list of buckets, others are refused in every call; without, any well-formed one is served."""
    other = bucket + "-x"
    async with serve(buckets=(other,)) as stub:
        await upload(stub, b"1", bucket=other)
        assert (await download(stub, path="f", bucket=other))[1] == b"1"
        for call in (
            upload(stub, b"1", bucket="foreign-bucket"),
            download(stub, path="f", bucket="foreign-bucket"),
        ):
            with pytest.raises(errors.PermissionDenied):
                await call


async def test_absent_files(stub: Stub) -> None:
    """Stat, download, delete and a GET link of nothing are FILE_NOT_FOUND."""
    for call in (
        stub.StatFile(pb.StatFileRequest(path="no")),
        stub.DeleteFile(pb.DeleteFileRequest(path="no")),
        stub.PresignFile(pb.PresignFileRequest(path="no")),
    ):
        with pytest.raises(errors.FileNotFound):
            async with rpc_errors():
                await call
    with pytest.raises(errors.FileNotFound):
        await download(stub, path="no")


async def test_listing_and_deleting_a_folder(stub: Stub) -> None:
    """Pages follow tokens; tokens of another listing and junk are refused; a folder goes and its neighbour stays."""
    for path in ("t/1", "t/2", "t/3", "t0/1"):
        await upload(stub, b"12", path)
    got, token = [], ""
    while True:
        page = await stub.ListFiles(
            pb.ListFilesRequest(prefix="t/", recursive=True, page_size=2, page_token=token)
        )
        got += [file.path for file in page.files]
        token = page.next_page_token
        if not token:
            break
        kept = token
    assert got == ["t/1", "t/2", "t/3"]
    for bad in (
        pb.ListFilesRequest(prefix="t", recursive=True, page_token=kept),
        pb.ListFilesRequest(prefix="t/", page_token=kept),
        pb.ListFilesRequest(prefix="t/", recursive=True, page_token="junk"),
        pb.ListFilesRequest(page_size=1001),
        pb.ListFilesRequest(page_size=-1),
        pb.ListFilesRequest(prefix="../"),
    ):
        with pytest.raises(errors.InvalidArgument):
            async with rpc_errors():
                await stub.ListFiles(bad)
    top = await stub.ListFiles(pb.ListFilesRequest())
    assert (list(top.files), list(top.prefixes)) == ([], ["t/", "t0/"])
    with pytest.raises(errors.InvalidArgument):
        async with rpc_errors():
            await stub.DeleteFiles(pb.DeleteFilesRequest())
    done = await stub.DeleteFiles(pb.DeleteFilesRequest(prefix="t"))
    assert (done.deleted_count, done.deleted_bytes, list(done.failed_paths)) == (3, 6, [])
    assert await paths(stub) == ["t0/1"]


async def test_storage(stub: Stub, backend: Backend, bucket: str) -> None:
    """GetStorage tells kind, place, default bucket and health, and no credential."""
    storage = await stub.GetStorage(pb.GetStorageRequest())
    assert (storage.backend, storage.endpoint) == (backend.name, backend.endpoint)
    assert (storage.default_bucket, storage.healthy, storage.quota_bytes) == (bucket, True, 0)
    await upload(stub, b"123")
    assert (await stub.GetStorage(pb.GetStorageRequest())).used_bytes == 3
