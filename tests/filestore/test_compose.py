"""Files out of parts, on a folder and on an S3."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator

import pytest

from filestore.access import Caller
from filestore.backend import Backend, Chunk, FileInfo, NewFile
from filestore.settings import FilestoreSection
from filestore.store import MAX_PARTS, FileStore
from runtime.errors import FileNotFound, InvalidArgument, PermissionDenied, QuotaExceeded
from tests.filestore.contents import pieces
from tests.filestore.test_servicer import served
from yivideo.file.v1 import file_pb2 as pb

ALICE, BOB = Caller("alice"), Caller("bob")


async def put(store: FileStore, path: str, content: bytes, caller: Caller) -> None:
    file = store.announced(NewFile("", path, ""), caller, if_absent=False)
    await store.put(file, pieces(content))


async def test_parts_become_one_file(backend: Backend, bucket: str) -> None:
    """Of any size, in order, with its owner, type and checksum; another user's part is not there, another's path is taken."""
    store = FileStore(backend, FilestoreSection(default_bucket=bucket))
    contents = [bytes([n]) * size for n, size in enumerate((3_000_000, 1, 700_000))]
    for n, content in enumerate(contents):
        await put(store, f"p{n}", content, ALICE)
    await put(store, "bobs", b"secret", BOB)
    whole = b"".join(contents)
    digest = hashlib.sha256(whole).hexdigest()
    file = store.announced(
        NewFile("", "all.mp4", "", size_bytes=len(whole), sha256=digest), ALICE, if_absent=False
    )
    info = await store.compose(file, ["p0", "p1", "p2"], ALICE)
    assert (info.size_bytes, info.sha256, info.owner, info.content_type) == (
        len(whole),
        digest,
        "alice",
        "video/mp4",
    )
    async with store.open("", "all.mp4", caller=ALICE) as opened:
        assert b"".join([bytes(chunk) async for chunk in opened.chunks]) == whole
    with pytest.raises(FileNotFound):
        await store.compose(file, ["p0", "bobs"], ALICE)
    taken = store.announced(NewFile("", "bobs", ""), ALICE, if_absent=False)
    with pytest.raises(PermissionDenied):
        await store.compose(taken, ["p1"], ALICE)
    for parts in ([], ["all.mp4"], ["p1"] * (MAX_PARTS + 1)):
        with pytest.raises(InvalidArgument):
            await store.compose(file, parts, ALICE)


async def test_limits_hold_for_what_is_made_of_parts(backend: Backend, bucket: str) -> None:
    """The quota is the whole file's; one that does not fit leaves nothing."""
    store = FileStore(backend, FilestoreSection(default_bucket=bucket, quota_mib=1))
    await put(store, "p", b"x" * 400_000, ALICE)
    file = store.announced(NewFile("", "all", ""), ALICE, if_absent=False)
    with pytest.raises(QuotaExceeded):
        await store.compose(file, ["p", "p", "p"], ALICE)
    with pytest.raises(FileNotFound):
        await store.stat("", "all", ALICE)


async def test_parts_that_nobody_composes_go_after_their_time(backend: Backend, bucket: str) -> None:
    """A week by default; nothing else goes with them."""
    for age, left in ((7 * 86_400.0, [".parts/u/1", "kept/.parts/1"]), (0.0, ["kept/.parts/1"])):
        store = FileStore(backend, FilestoreSection(default_bucket=bucket, parts_age_seconds=age))
        await put(store, ".parts/u/1", b"x", ALICE)
        await put(store, "kept/.parts/1", b"x", ALICE)
        assert await store.clean() == (0 if age else 1)
        page, _ = await store.list_page("", "", recursive=True, page_size=0, token="")
        assert [info.path for info in page.files] == left


class _Overtaken(FileStore):
    """A store in which a part is replaced as soon as a file has been made of it."""

    async def put(self, file: NewFile, chunks: AsyncIterator[Chunk]) -> FileInfo:
        info = await super().put(file, chunks)
        if file.path == "all":
            await put(self, "p1", b"newer", ALICE)
        return info


async def test_parts_that_were_replaced_meanwhile_stay(backend: Backend, bucket: str) -> None:
    """What is deleted with `delete_parts` is what was read; a later file of that name is somebody's work."""
    store = _Overtaken(backend, FilestoreSection(default_bucket=bucket))
    await put(store, "p0", b"0" * 11_000_000, ALICE)  # an S3 has it in several parts of its own
    await put(store, "p1", b"1", ALICE)
    header = pb.UploadHeader(path="all", caller=pb.Caller(user="alice"))
    async with served(store) as stub:
        await stub.ComposeFile(
            pb.ComposeFileRequest(header=header, parts=["p0", "p1"], delete_parts=True), timeout=60
        )
    page, _ = await store.list_page("", "", recursive=True, page_size=0, token="")
    assert [info.path for info in page.files] == ["all", "p1"]


async def test_parts_are_read_on_the_place_that_is_held(backend: Backend, bucket: str) -> None:
    """A store with one place makes a file of many parts: what has begun is not refused in its middle; the place is free again."""
    store = FileStore(backend, FilestoreSection(default_bucket=bucket, max_transfers=1))
    await put(store, "p", b"x" * 100_000, ALICE)
    for _ in range(2):
        file = store.announced(NewFile("", "all", ""), ALICE, if_absent=False)
        assert (await store.compose(file, ["p"] * 3, ALICE)).size_bytes == 300_000
