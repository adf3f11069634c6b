"""What every backend must do; the local folder and a real S3 server (marker `s3`) both pass it."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from filestore.access import EVERYBODY, AccessRules
from filestore.backend import Backend, ByteRange, FileInfo
from runtime.errors import FileExists, FileNotFound, InvalidArgument, RangeRefused
from tests.filestore.contents import new_file, pieces, read_all

ONLY_NEW = AccessRules().replacing(EVERYBODY, if_absent=True)

MIB = 1024 * 1024
LARGE = os.urandom(11 * MIB + 17)
"""Three parts on S3 and three batches on disk, with an odd end."""


async def everything(store: Backend, bucket: str) -> list[str]:
    """Return every path of a bucket."""
    return [
        info.path for info in (await store.list_page(bucket, "", recursive=True, limit=1000, after="")).files
    ]


async def uploads_left(store: Backend, bucket: str) -> int:
    """Return how many unfinished uploads the store still holds, removing them."""
    return await store.clean(bucket, older_than_seconds=-60)


def open_files() -> int:
    """Return how many descriptors this process has."""
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("size", [1, 1000, MIB, 5 * MIB - 1, 5 * MIB, 5 * MIB + 1, 10 * MIB, len(LARGE)])
async def test_what_is_put_comes_back(backend: Backend, bucket: str, size: int) -> None:
    """Every size, at and around the edges of parts and batches, is read back byte for byte with its description."""
    content = LARGE[:size]
    begun = datetime.now(UTC) - timedelta(seconds=2)
    put = await backend.put(
        new_file(bucket, "task-1/film.mp4", content, content_type="video/mp4"), pieces(content)
    )
    assert await read_all(backend, bucket, "task-1/film.mp4") == content
    assert put == await backend.stat(bucket, "task-1/film.mp4")
    assert (put.bucket, put.path, put.size_bytes) == (bucket, "task-1/film.mp4", size)
    assert put.sha256 == hashlib.sha256(content).hexdigest()
    assert put.content_type == "video/mp4"
    assert put.etag
    assert begun <= put.update_time <= datetime.now(UTC) + timedelta(seconds=2)


@pytest.mark.parametrize("size", [1000, len(LARGE)])
async def test_size_and_checksum_need_not_be_known_before(backend: Backend, bucket: str, size: int) -> None:
    """A writer that announces nothing gets a file with the right size and checksum, also when asked later."""
    content = LARGE[:size]
    put = await backend.put(new_file(bucket, "a.bin"), pieces(content, 300_001))
    assert put.size_bytes == size
    assert put.sha256 == hashlib.sha256(content).hexdigest()
    assert await backend.stat(bucket, "a.bin") == put
    assert await read_all(backend, bucket, "a.bin") == content


async def test_tiny_chunks_make_the_same_file(backend: Backend, bucket: str) -> None:
    """Chunks of 3 bytes, tens of thousands of them, are one file."""
    content = LARGE[:200_000]
    await backend.put(new_file(bucket, "tiny", content), pieces(content, 3))
    assert await read_all(backend, bucket, "tiny") == content


async def test_an_empty_file_only_when_allowed(backend: Backend, bucket: str) -> None:
    """0 bytes are refused and leave nothing, unless the writer allows them."""
    with pytest.raises(InvalidArgument):
        await backend.put(new_file(bucket, "empty"), pieces(b""))
    assert await everything(backend, bucket) == []
    put = await backend.put(new_file(bucket, "empty", b"", allow_empty=True), pieces(b""))
    assert put.size_bytes == 0
    assert await read_all(backend, bucket, "empty") == b""


WRONG = [{"sha256": "0" * 64}, {"size_bytes": 10**6}, {"size_bytes": 20 * MIB}, {"size_bytes": 1}]


@pytest.mark.parametrize("size", [1000, len(LARGE)])
@pytest.mark.parametrize("wrong", WRONG, ids=["sha256", "size", "size-above", "size-below"])
async def test_what_was_not_announced_is_refused(
    backend: Backend, bucket: str, size: int, wrong: dict[str, Any]
) -> None:
    """Content of another size or checksum than announced is refused and leaves nothing, not even the older file's loss."""
    await backend.put(new_file(bucket, "kept", b"old"), pieces(b"old"))
    for path in ("new", "kept"):
        with pytest.raises(InvalidArgument):
            await backend.put(new_file(bucket, path, **wrong), pieces(LARGE[:size]))
    assert await everything(backend, bucket) == ["kept"]
    assert await read_all(backend, bucket, "kept") == b"old"
    assert await uploads_left(backend, bucket) == 0


async def test_replacing_is_atomic(backend: Backend, bucket: str) -> None:
    """A reader that began before a replacement reads the older version whole; one that begins after reads the newer."""
    older, newer = LARGE[: 6 * MIB], LARGE[MIB:]
    first = await backend.put(new_file(bucket, "film", older), pieces(older))
    async with backend.open(bucket, "film") as opened:
        chunks = aiter(opened.chunks)
        got = [await anext(chunks)]
        second = await backend.put(new_file(bucket, "film", newer), pieces(newer))
        got += [chunk async for chunk in chunks]
    assert b"".join(got) == older
    assert await read_all(backend, bucket, "film") == newer
    assert first.etag != second.etag
    assert await everything(backend, bucket) == ["film"]


async def test_if_absent_never_replaces(backend: Backend, bucket: str) -> None:
    """`if_absent` writes a new file, and refuses where one is, whatever its size."""
    await backend.put(new_file(bucket, "once", b"first", may_replace=ONLY_NEW), pieces(b"first"))
    for content in (b"second", LARGE):
        with pytest.raises(FileExists):
            await backend.put(new_file(bucket, "once", content, may_replace=ONLY_NEW), pieces(content))
    assert await read_all(backend, bucket, "once") == b"first"
    assert await uploads_left(backend, bucket) == 0


async def test_if_absent_has_one_winner(backend: Backend, bucket: str) -> None:
    """Of writers that race for one new path exactly one wins."""
    contents = [os.urandom(50_000) for _ in range(6)]
    writes = [
        backend.put(new_file(bucket, "race", each, may_replace=ONLY_NEW), pieces(each, 5000))
        for each in contents
    ]
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    winners = [
        content for content, outcome in zip(contents, outcomes, strict=True) if isinstance(outcome, FileInfo)
    ]
    assert len(winners) == 1
    assert all(isinstance(outcome, FileInfo | FileExists) for outcome in outcomes)
    assert await read_all(backend, bucket, "race") == winners[0]


@pytest.mark.parametrize("sent", [3, 7 * MIB], ids=["small", "multipart"])
async def test_a_cancelled_upload_leaves_nothing(backend: Backend, bucket: str, sent: int) -> None:
    """Cancelling a write in its middle leaves no file, no part, no partial file; the store goes on."""
    reached = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        for start in range(0, sent, MIB):
            yield LARGE[start : min(sent, start + MIB)]
        reached.set()
        await asyncio.Event().wait()

    writing = asyncio.create_task(backend.put(new_file(bucket, "never"), endless()))
    await reached.wait()
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert await everything(backend, bucket) == []
    assert await uploads_left(backend, bucket) == 0
    await backend.put(new_file(bucket, "next", b"x"), pieces(b"x"))


@pytest.mark.parametrize("sent", [3, 7 * MIB], ids=["small", "multipart"])
async def test_a_writer_that_fails_leaves_nothing(backend: Backend, bucket: str, sent: int) -> None:
    """An error of the sender comes out as it is and leaves nothing."""

    async def broken() -> AsyncIterator[bytes]:
        for start in range(0, sent, MIB):
            yield LARGE[start : min(sent, start + MIB)]
        raise ConnectionResetError("the sender is gone")

    with pytest.raises(ConnectionResetError):
        await backend.put(new_file(bucket, "never"), broken())
    assert await everything(backend, bucket) == []
    assert await uploads_left(backend, bucket) == 0


RANGES = [
    (ByteRange(0, 1), 0, 1),
    (ByteRange(5, 10), 5, 10),
    (ByteRange(999, 0), 999, 1),
    (ByteRange(990, 500), 990, 10),
    (ByteRange(-1), 999, 1),
    (ByteRange(-300, 100), 700, 100),
    (ByteRange(-5000), 0, 1000),
    (ByteRange(5, 10, if_etag="another"), 0, 1000),
]


@pytest.mark.parametrize(("wanted", "offset", "length"), RANGES)
async def test_ranges(backend: Backend, bucket: str, wanted: ByteRange, offset: int, length: int) -> None:
    """A range is cut at the file's end, counted from it when negative, and dropped when the etag is another."""
    content = LARGE[:1000]
    await backend.put(new_file(bucket, "r", content), pieces(content))
    async with backend.open(bucket, "r", wanted) as opened:
        got = b"".join([chunk async for chunk in opened.chunks])
    assert (opened.offset_bytes, opened.length_bytes, opened.info.size_bytes) == (offset, length, 1000)
    assert got == content[offset : offset + length]


async def test_a_range_with_the_current_etag(backend: Backend, bucket: str) -> None:
    """A range with the file's own etag is honoured, across several read batches."""
    put = await backend.put(new_file(bucket, "r", LARGE), pieces(LARGE))
    async with backend.open(bucket, "r", ByteRange(MIB - 1, 7 * MIB, put.etag)) as opened:
        assert b"".join([chunk async for chunk in opened.chunks]) == LARGE[MIB - 1 : 8 * MIB - 1]


@pytest.mark.parametrize("wanted", [ByteRange(1000), ByteRange(5000, 1)])
async def test_a_range_past_the_end_is_refused(backend: Backend, bucket: str, wanted: ByteRange) -> None:
    """A range that starts at or after the end is RangeRefused."""
    await backend.put(new_file(bucket, "r", LARGE[:1000]), pieces(LARGE[:1000]))
    with pytest.raises(RangeRefused):
        async with backend.open(bucket, "r", wanted):
            pass


async def test_a_reader_may_leave_early(backend: Backend, bucket: str) -> None:
    """Reading one chunk, or none, and leaving is no error and holds nothing open."""
    await backend.put(new_file(bucket, "film", LARGE), pieces(LARGE))
    open_before = open_files()
    for _ in range(20):
        async with backend.open(bucket, "film") as opened:
            await anext(aiter(opened.chunks))
        async with backend.open(bucket, "film"):
            pass
    assert open_files() <= open_before + 4
    assert await read_all(backend, bucket, "film") == LARGE


async def test_what_is_not_there(backend: Backend, bucket: str) -> None:
    """Reading, describing and deleting an absent file, or one of an absent bucket, is FileNotFound."""
    for where in (bucket, "no-such-bucket-here"):
        with pytest.raises(FileNotFound):
            await backend.stat(where, "absent")
        with pytest.raises(FileNotFound):
            await backend.delete(where, "absent")
        with pytest.raises(FileNotFound):
            async with backend.open(where, "absent"):
                pass
        page = await backend.list_page(where, "", recursive=True, limit=10, after="")
        assert (page.files, page.prefixes, page.last) == ((), (), "")


async def test_a_bucket_is_made_when_a_file_is_put_there(backend: Backend, bucket: str) -> None:
    """Writing to a bucket that does not exist makes it, for one request and for parts; buckets are apart."""
    for other, content in ((bucket + "-s", b"x"), (bucket + "-m", LARGE)):
        await backend.put(new_file(other, "f", content), pieces(content))
        assert await read_all(backend, other, "f") == content
    assert await everything(backend, bucket) == []


async def test_delete_removes_one_file(backend: Backend, bucket: str) -> None:
    """Delete gives the file's description back; a second one is FileNotFound; neighbours stay."""
    for path in ("a", "a/b", "ab"):
        await backend.put(new_file(bucket, path, path.encode()), pieces(path.encode()))
    gone = await backend.delete(bucket, "a")
    assert (gone.path, gone.size_bytes) == ("a", 1)
    with pytest.raises(FileNotFound):
        await backend.delete(bucket, "a")
    assert await everything(backend, bucket) == ["a/b", "ab"]


async def test_delete_prefix_takes_the_folder_and_no_neighbour(backend: Backend, bucket: str) -> None:
    """`task-1/` goes with all below it; `task-1`, `task-10/…` and `task-1.txt` stay; an empty folder is well."""
    inside = ["task-1/a", "task-1/b/c", "task-1/b/d", "task-1/z z/ü.srt"]
    outside = ["task-1", "task-1.txt", "task-10/a", "task-0/z"]
    for path in inside + outside:
        await backend.put(new_file(bucket, path, b"12345"), pieces(b"12345"))
    done = await backend.delete_prefix(bucket, "task-1/")
    assert (done.deleted, done.deleted_bytes, done.failed_paths) == (4, 20, ())
    assert sorted(await everything(backend, bucket)) == sorted(outside)
    again = await backend.delete_prefix(bucket, "task-1/")
    assert (again.deleted, again.deleted_bytes) == (0, 0)


ODD = [
    "a",
    "a b+c%20d",
    "ä/ö.srt",
    "中文/字幕.srt",
    "q?x=1&y=2#z",
    "'quote\"<xml>&amp;",
    "e\u0301",
    "\U0001f3ac/🎬",
]


async def test_odd_letters_in_paths(backend: Backend, bucket: str) -> None:
    """Spaces, signs of URLs and XML, Chinese, combining letters and emoji survive put, read, list and delete."""
    deep = "/".join(["d" * 40] * 20)
    for path in [*ODD, deep]:
        await backend.put(new_file(bucket, path, path.encode()), pieces(path.encode()))
        assert await read_all(backend, bucket, path) == path.encode()
    assert await everything(backend, bucket) == sorted([*ODD, deep], key=str.encode)
    assert (await backend.delete_prefix(bucket, "中文/")).deleted == 1
    for path in [*ODD, deep]:
        if not path.startswith("中文/"):
            await backend.delete(bucket, path)
    assert await everything(backend, bucket) == []


TREE = ["a", "a/1", "a/2", "a/b/3", "a0", "b/1", "b/2", "c", "d/x/y/z", "e"]


async def fill(store: Backend, bucket: str) -> None:
    """Write the tree."""
    await asyncio.gather(*(store.put(new_file(bucket, path, b"1"), pieces(b"1")) for path in TREE))


@pytest.mark.parametrize("limit", [1, 2, 3, 1000])
async def test_listing_in_pages(backend: Backend, bucket: str, limit: int) -> None:
    """Pages of any size, put together, are the whole listing in order, nothing twice; no page is over its limit."""
    await fill(backend, bucket)

    async def listing(prefix: str, *, recursive: bool) -> list[str]:
        got: list[str] = []
        after = ""
        for _ in range(50):
            page = await backend.list_page(bucket, prefix, recursive=recursive, limit=limit, after=after)
            entries = [info.path for info in page.files] + list(page.prefixes)
            assert len(entries) <= limit
            got += sorted(entries, key=str.encode)
            after = page.last
            if not after:
                return got
        raise AssertionError("the listing does not end")

    assert await listing("", recursive=True) == TREE
    assert await listing("", recursive=False) == ["a", "a/", "a0", "b/", "c", "d/", "e"]
    assert await listing("a/", recursive=False) == ["a/1", "a/2", "a/b/"]
    assert await listing("a", recursive=True) == ["a", "a/1", "a/2", "a/b/3", "a0"]
    assert await listing("d/x", recursive=False) == ["d/x/"]
    assert await listing("zzz", recursive=True) == []


async def test_a_listing_describes_its_files(backend: Backend, bucket: str) -> None:
    """Size, etag, time and type in a listing are those of stat."""
    put = await backend.put(new_file(bucket, "x/film.mp4", LARGE, content_type="video/mp4"), pieces(LARGE))
    [listed] = (await backend.list_page(bucket, "x/", recursive=False, limit=10, after="")).files
    assert (listed.path, listed.size_bytes, listed.etag) == (put.path, put.size_bytes, put.etag)
    assert listed.content_type == "video/mp4"
    assert abs(listed.update_time - put.update_time) < timedelta(seconds=2)


async def test_usage_counts_what_is_there(backend: Backend, bucket: str) -> None:
    """Usage follows puts, replacements and deletes, a bucket at a time."""
    assert (await backend.usage(bucket)).files == 0
    sizes = itertools.count(10)
    for path in ("a", "b", "c/d", "a"):
        size = next(sizes)
        await backend.put(new_file(bucket, path, LARGE[:size]), pieces(LARGE[:size]))
    await backend.put(new_file(bucket + "-other", "z", b"z"), pieces(b"z"))
    used = await backend.usage(bucket)
    assert (used.files, used.size_bytes) == (3, 11 + 12 + 13)
    await backend.delete(bucket, "b")
    await backend.delete_prefix(bucket, "c/")
    used = await backend.usage(bucket)
    assert (used.files, used.size_bytes) == (1, 13)


async def test_many_at_once(backend: Backend, bucket: str) -> None:
    """Twenty writers and readers side by side do not mix their bytes."""
    contents = {f"n/{number}": os.urandom(700_000 + number) for number in range(20)}
    await asyncio.gather(
        *(backend.put(new_file(bucket, path, each), pieces(each, 100_000)) for path, each in contents.items())
    )
    read = await asyncio.gather(*(read_all(backend, bucket, path) for path in contents))
    assert read == list(contents.values())


async def test_ping(backend: Backend) -> None:
    """A store that is there says so."""
    await backend.ping()
