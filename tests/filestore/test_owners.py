"""Files have owners: whom a store lets read, list, replace and delete what. Both kinds of store, one table."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from filestore.access import EVERYBODY, Caller
from filestore.backend import Backend, FileInfo, NewFile
from filestore.local import LocalBackend
from filestore.naming import Naming
from filestore.settings import FilestoreSection
from filestore.signing import Grant
from filestore.store import FileStore
from runtime.errors import FileExists, FileNotFound, PathRefused, PermissionDenied, YiVideoError
from tests.filestore.contents import pieces
from yivideo.file.v1 import file_pb2

pytestmark = pytest.mark.trial("10.13")

ALICE, BOB, NOBODY = Caller("alice"), Caller("bob"), Caller()
LARGE = bytes(range(256)) * 24 * 1024
"""6 MiB: several parts on the S3 of the tests."""


@pytest.fixture
async def store(backend: Backend, bucket: str) -> FileStore:
    """A store with a shared prefix over each backend in turn."""
    section = FilestoreSection(default_bucket=bucket, shared_prefixes=("library/",))
    return FileStore(backend, section)


async def put(
    store: FileStore,
    path: str,
    caller: Caller,
    content: bytes = b"x",
    *,
    task_id: str = "",
    if_absent: bool = False,
) -> FileInfo:
    file = NewFile("", path, "", sha256=hashlib.sha256(content).hexdigest(), task_id=task_id)
    return await store.put(store.announced(file, caller, if_absent=if_absent), pieces(content))


async def listed(store: FileStore, caller: Caller, prefix: str = "", *, recursive: bool = True) -> list[str]:
    """Return every path and folder that a caller is shown, over pages of two."""
    found: list[str] = []
    token = ""
    while True:
        page, token = await store.list_page(
            "", prefix, recursive=recursive, page_size=2, token=token, caller=caller
        )
        found += [info.path for info in page.files] + list(page.prefixes)
        if not token:
            return sorted(found)


async def test_a_file_is_its_owners(store: FileStore) -> None:
    """Another user neither reads, finds, replaces, deletes nor links it; to them it does not exist, only its path is taken."""
    assert (await put(store, "archive-1/film.mp4", ALICE)).owner == "alice"
    path = "archive-1/film.mp4"
    for caller in (BOB, NOBODY):
        with pytest.raises(FileNotFound):
            await store.stat("", path, caller)
        with pytest.raises(FileNotFound):
            async with store.open("", path, caller=caller):
                pass
        with pytest.raises(FileNotFound):
            await store.delete("", path, caller)
        with pytest.raises(FileNotFound):
            await store.presign("", path, Grant(caller=caller), internal=True)
        with pytest.raises(PermissionDenied):
            await put(store, path, caller, b"evil")
        with pytest.raises(PermissionDenied):
            await put(store, path, caller, LARGE)
        assert (await store.delete_folder("", "archive-1", caller)).deleted == 0
        assert await listed(store, caller) == []
        assert await listed(store, caller, recursive=False) == []
    assert (await store.stat("", path, ALICE)).size_bytes == 1
    assert (await put(store, path, ALICE, LARGE)).size_bytes == len(LARGE)
    assert (await store.delete("", path, ALICE)).owner == "alice"


async def test_every_file_is_within_reach_of_who_may(store: FileStore) -> None:
    """`all_files` reads, lists, replaces and deletes everybody's."""
    await put(store, "a/one", ALICE)
    await put(store, "b/two", BOB)
    assert await listed(store, EVERYBODY) == ["a/one", "b/two"]
    assert (await store.stat("", "a/one", EVERYBODY)).owner == "alice"
    assert (await put(store, "a/one", Caller("root", all_files=True))).owner == "root"
    assert (await store.delete_folder("", "b", EVERYBODY)).deleted == 1


async def test_a_listing_leaves_out_what_others_have(store: FileStore) -> None:
    """Pages and folders show one's own and what is shared, in path order, however others' files lie between."""
    for number in range(5):
        await put(store, f"mixed/{number}", ALICE if number % 2 else BOB)
    await put(store, "alone/deep/x", ALICE)
    await put(store, "library/song", BOB)
    await put(store, "zoo", BOB)
    assert await listed(store, ALICE) == ["alone/deep/x", "library/song", "mixed/1", "mixed/3"]
    assert await listed(store, ALICE, recursive=False) == ["alone/", "library/", "mixed/"]
    assert await listed(store, BOB, "mixed/") == ["mixed/0", "mixed/2", "mixed/4"]
    assert await listed(store, BOB, recursive=False) == ["library/", "mixed/", "zoo"]
    assert await listed(store, NOBODY) == ["library/song"]


async def test_what_is_shared_is_read_by_all_and_changed_by_its_owner(store: FileStore) -> None:
    """Below a shared prefix everybody reads; another user's file there is neither replaced nor deleted."""
    await put(store, "library/song", ALICE)
    assert (await store.stat("", "library/song", BOB)).owner == "alice"
    with pytest.raises(PermissionDenied):
        await store.delete("", "library/song", BOB)
    with pytest.raises(PermissionDenied):
        await put(store, "library/song", BOB)
    assert (await store.delete_folder("", "library", BOB)).deleted == 0
    assert (await put(store, "library/other", BOB)).owner == "bob"


async def test_a_task_replaces_and_deletes_what_it_stored_and_nothing_else(store: FileStore) -> None:
    """Its own user's uploads below its id stay, too, and so does what another task has stored there."""
    await put(store, "t1/film.mp4", ALICE)
    await put(store, "t1/other", ALICE, task_id="t0")
    for path in ("t1/film.mp4", "t1/other"):
        for caller in (ALICE, Caller("alice", all_files=True)):
            with pytest.raises(FileExists):
                await put(store, path, caller, task_id="t1")
        with pytest.raises(FileNotFound):
            await store.delete("", path, ALICE, task_id="t1")
    for content in (b"first", LARGE, b"second"):
        assert (await put(store, "t1/out.wav", ALICE, content, task_id="t1")).task_id == "t1"
    with pytest.raises(PermissionDenied):
        await put(store, "t1/out.wav", BOB, task_id="t1")
    assert (await store.delete_folder("", "t1", BOB, task_id="t1")).deleted == 0
    assert (await store.delete_folder("", "t1", ALICE, task_id="t1")).deleted == 1
    assert await listed(store, ALICE) == ["t1/film.mp4", "t1/other"]


@pytest.mark.parametrize("content", [b"small", LARGE], ids=["small", "multipart"])
async def test_users_who_race_for_a_path_do_not_write_over_each_other(
    store: FileStore, content: bytes
) -> None:
    """Of several users who write one new path at once one wins, the others are refused, and what is there is the winner's."""
    callers = [Caller(f"user-{number}") for number in range(4)]
    for race in range(6):
        outcomes = await asyncio.gather(
            *[put(store, f"race-{race}", caller, content + caller.user.encode()) for caller in callers],
            return_exceptions=True,
        )
        won = [outcome for outcome in outcomes if isinstance(outcome, FileInfo)]
        lost = [outcome for outcome in outcomes if isinstance(outcome, YiVideoError)]
        assert len(won) == 1 and len(lost) == 3, outcomes
        there = await store.stat("", f"race-{race}", EVERYBODY)
        assert (there.owner, there.sha256) == (won[0].owner, won[0].sha256)


async def named_last(
    store: FileStore, path: str, caller: Caller, content: bytes, bucket: str = ""
) -> FileInfo:
    """Write a file whose name comes behind its content."""
    naming = Naming()
    file = naming.of(store.announced(NewFile("", "", ""), caller, if_absent=False))

    async def chunks() -> AsyncIterator[bytes]:
        async for piece in pieces(content):
            yield piece
        naming.take(file_pb2.UploadTrailer(path=path, bucket=bucket))

    return await store.put(file, chunks())


@pytest.mark.trial("10.21")
@pytest.mark.parametrize("content", [b"small", LARGE], ids=["small", "multipart"])
async def test_a_file_may_be_named_last(store: FileStore, content: bytes) -> None:
    """It appears whole under its name, with its type, owner and checksum; a bad name or a path that is taken leaves nothing."""
    info = await named_last(store, "late/film.mp4", ALICE, content)
    assert (info.path, info.owner, info.content_type, info.size_bytes) == (
        "late/film.mp4", "alice", "video/mp4", len(content),
    )  # fmt: skip
    assert info.sha256 == hashlib.sha256(content).hexdigest()
    assert (await store.stat("", "late/film.mp4", ALICE)).sha256 == info.sha256
    with pytest.raises(PathRefused):
        await named_last(store, "../x", ALICE, content)
    with pytest.raises(PathRefused):
        await named_last(store, "", ALICE, content)
    with pytest.raises(PermissionDenied):
        await named_last(store, "late/film.mp4", BOB, content)
    assert await listed(store, EVERYBODY) == ["late/film.mp4"]
    assert store.used.files == 1


async def test_files_without_owner_are_anonymous(tmp_path: Path) -> None:
    """A store of the time before owners opens as it is: its files are `anonymous`'s, and everybody's only where that is set."""
    with sqlite3.connect(tmp_path / "index.sqlite3") as old:
        old.executescript(
            """
            CREATE TABLE file (
                bucket TEXT NOT NULL, path TEXT NOT NULL, blob TEXT NOT NULL, size_bytes INTEGER NOT NULL,
                sha256 TEXT NOT NULL, content_type TEXT NOT NULL, update_time_us INTEGER NOT NULL,
                PRIMARY KEY (bucket, path)
            ) WITHOUT ROWID;
            CREATE TABLE usage (
                bucket TEXT PRIMARY KEY, files INTEGER NOT NULL, size_bytes INTEGER NOT NULL
            ) WITHOUT ROWID;
            INSERT INTO file VALUES ('yivideo', 'old/film', '0123abc', 3, '', 'video/mp4', 1000000);
            PRAGMA user_version = 1;
            """
        )
    old.close()
    for share in (False, True):
        backend = LocalBackend(tmp_path)
        await backend.start("yivideo")
        store = FileStore(backend, FilestoreSection(share_anonymous=share))
        assert (await store.stat("", "old/film", NOBODY)).owner == "anonymous"
        assert await listed(store, ALICE) == (["old/film"] if share else [])
        with pytest.raises(PermissionDenied):
            await put(store, "old/film", ALICE)
        await backend.aclose()
