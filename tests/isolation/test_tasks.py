"""Tasks: what a node reads and writes on behalf of a task's user, by every kind of reference, and what deletion takes along."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from filestore.access import Caller
from nodekit.testkit import NodeUnderTest
from tests.isolation.conftest import ALICES, SECRET, SHARED, House
from tests.nodekit import toy

pytestmark = pytest.mark.trial("10.13")

INPUTS = {
    "object path": (SECRET, False),
    "bucket": (f"s3://yivideo/{SECRET}", False),
    "folder": ("archive-1/", True),
    "folder of a bucket": ("s3://yivideo/archive-1/", True),
    "the store's address": (f"http://minio:9000/yivideo/{SECRET}", False),
    "the gateway's address": (f"http://gateway.example/v1/files/download/{SECRET}?bucket=yivideo", False),
    "shared path": (f"/share/{SECRET}", False),
    "shared folder": ("/share/archive-1", True),
    "beginning of a name": ("archive-1/fi", True),
}


@pytest.fixture
async def node(house: House, tmp_path: Path) -> AsyncIterator[NodeUnderTest]:
    """The toy node on the house's store."""
    async with NodeUnderTest(toy.node, tmp_path / "node", filestore=house.files_address) as started:
        yield started


@pytest.mark.parametrize("kind", INPUTS)
async def test_a_task_reads_what_its_user_may_download(node: NodeUnderTest, kind: str) -> None:
    """By every form of reference: another user's file is not there, one's own is, and `files:all` travels with the task."""
    source, directory = INPUTS[kind]
    values = {"source": source, "directory": directory}
    for user in ("bob", "eve", ""):
        result = await node.run("toy.fetch", values, user=user)
        assert (result.outcome, result.error.code) == ("failed", "FILE_NOT_FOUND"), user
    assert (await node.run("toy.fetch", {"source": SHARED}, user="bob")).outcome == "completed"
    if kind != "beginning of a name":
        assert (await node.run("toy.fetch", values, user="alice")).outcome == "completed"
        assert (await node.run("toy.fetch", values, user="root", all_files=True)).outcome == "completed"


async def test_what_a_node_has_cached_is_no_way_around(house: House, node: NodeUnderTest) -> None:
    """A file that the node holds for one user is not given to another who names its path."""
    assert (await node.run("toy.fetch", {"source": SECRET}, user="alice")).outcome == "completed"
    assert (await node.run("toy.fetch", {"source": SECRET}, user="bob")).error.code == "FILE_NOT_FOUND"
    await house.store.delete("", SECRET)
    await house.put(SECRET, "bob", b"bob's film")
    assert (await node.run("toy.fetch", {"source": SECRET}, user="alice")).error.code == "FILE_NOT_FOUND"


async def test_a_task_writes_over_nothing(house: House, tmp_path: Path) -> None:
    """A task whose id is the folder of somebody's files, its own user's too: all stay; its outputs lie beside, whole."""
    for name in ("a_clip.mp4", "frames/0001.jpg", "parts/b.wav"):
        await house.put(f"archive-1/{name}", "alice", b"was here before")
    before = await house.state()
    for user in ("bob", "alice"):
        async with NodeUnderTest(toy.node, tmp_path / user, filestore=house.files_address) as node:
            result = await node.run("toy.store", {"folder": str(tmp_path)}, task_id="archive-1", user=user)
        assert result.outcome == "completed", result.error
        after = await house.state()
        assert {path: after[path] for path in before} == before
        new = {
            path: owner for path, (owner, _, task) in after.items() if task == "archive-1" and owner == user
        }
        assert {file.path for file in result.files} == new.keys()
        assert all(path.startswith("archive-1/attempt-1-") or path.endswith("a.wav") for path in new), new
        frames = str(result.output["frames_dir"])
        assert len([path for path in new if path.startswith(frames)]) == 6, "a folder stays whole"


async def test_a_failed_attempt_takes_back_only_its_own(
    house: House, node: NodeUnderTest, tmp_path: Path
) -> None:
    """What lay where it wanted to store stays, though it deletes what it has stored."""
    await house.put("archive-1/a_clip.mp4", "alice", b"was here before")
    before = await house.state()
    values = {"folder": str(tmp_path), "then": "fail"}
    assert (await node.run("toy.store", values, task_id="archive-1", user="alice")).outcome == "failed"
    assert await house.state() == before


async def test_a_task_replaces_its_own_outputs(house: House, tmp_path: Path) -> None:
    """The same attempt again, on a node that knows nothing of it, writes where it wrote: a task is not in its own way."""
    for turn in ("first", "second"):
        async with NodeUnderTest(toy.node, tmp_path / turn, filestore=house.files_address) as node:
            result = await node.run("toy.store", {"folder": str(tmp_path)}, user="alice", task_id="again")
            assert result.output["frames_dir"] == "again/frames/"
    assert len([path for path in await house.state() if path.startswith("again/")]) == 9


async def test_deleting_a_task_takes_what_it_stored(
    house: House, node: NodeUnderTest, tmp_path: Path
) -> None:
    """By the task's mark: all that its attempts have stored, wherever it lies, and nothing of anybody's uploads."""
    await house.put("archive-1/a_clip.mp4", "alice", b"was here before")
    before = await house.state()
    result = await node.run("toy.store", {"folder": str(tmp_path)}, task_id="archive-1", user="alice")
    assert len(await house.state()) == len(before) + len(result.files)
    for user, gone in (("bob", 0), ("alice", len(result.files))):
        done = await house.store.delete_folder("", "archive-1", Caller(user), task_id="archive-1")
        assert done.deleted == gone
    assert await house.state() == before
    assert {path: await house.read(path) for path in ALICES} == ALICES
