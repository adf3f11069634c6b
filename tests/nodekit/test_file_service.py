"""Laws of a node with a filestore: bytes arrive whole whatever breaks, results carry URLs, bulk bytes go past filestore."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.nodekit.conftest import NodeFactory
from tests.nodekit.shelf_service import CHUNK, ShelfService, running
from tests.nodekit.web_server import Shelf, serving

MIB = 1024 * 1024


@pytest.fixture
async def service() -> AsyncIterator[ShelfService]:
    async with running(ShelfService()) as served:
        yield served


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


async def test_object_is_fetched_and_cached(start_node: NodeFactory, service: ShelfService) -> None:
    """An object arrives whole; the second time, and under another path, it comes from the cache by its hash."""
    body = os.urandom(MIB)
    service.files = {"in/a.mp4": body, "in/copy.mp4": body}
    node = await start_node(filestore=service.address)
    for source in ("in/a.mp4", "in/a.mp4", "in/copy.mp4", "s3://yivideo/in/a.mp4"):
        result = await node.run("toy.fetch", {"source": source})
        assert result.output["sha256"] == digest(body)
    assert service.downloads == [0]


async def test_broken_download_is_resumed(start_node: NodeFactory, service: ShelfService) -> None:
    """A download stream that breaks goes on at its offset."""
    body = os.urandom(MIB)
    service.files, service.cut_after = {"a.mp4": body}, [4 * CHUNK, 2 * CHUNK]
    node = await start_node(filestore=service.address)
    result = await node.run("toy.fetch", {"source": "a.mp4"})
    assert result.output["sha256"] == digest(body)
    assert service.downloads == [0, 4 * CHUNK, 6 * CHUNK]


async def test_object_that_changes_while_it_is_read_is_not_mixed(
    start_node: NodeFactory, service: ShelfService
) -> None:
    """When the object is replaced between two parts, the task does not get half of each."""
    service.files, service.cut_after = {"a.mp4": os.urandom(MIB)}, [4 * CHUNK]
    service.change_on_cut = os.urandom(MIB)
    node = await start_node(filestore=service.address)
    result = await node.run("toy.fetch", {"source": "a.mp4"})
    assert (result.outcome, result.error.code) == ("failed", "DATA_LOSS")


async def test_outputs_are_uploaded_and_carry_urls(
    start_node: NodeFactory, service: ShelfService, tmp_path: Path
) -> None:
    """Outputs lie under the task's id; each media field that this task stored has its URL beside it, others have none."""
    node = await start_node(filestore=service.address, url_expires_seconds=60)
    result = await node.run("toy.store", {"folder": str(tmp_path)}, task_id="t1")
    frames = [f"t1/frames/{number:04d}.jpg" for number in range(6)]
    assert sorted(service.files) == ["t1/a_clip.mp4", *frames, "t1/parts/a.wav", "t1/parts/b.wav"]
    assert result.output == {
        "clip_path": "t1/a_clip.mp4",
        "clip_path_minio_url": "/v1/files/presigned/t1/a_clip.mp4?e=60",
        "frames_dir": "t1/frames/",
        "part_files": ["t1/parts/a.wav", "t1/parts/b.wav"],
        "part_files_minio_urls": [f"/v1/files/presigned/t1/parts/{name}.wav?e=60" for name in "ab"],
        "foreign_path": "task-other/secret.wav",
    }
    clip = next(file for file in result.files if file.name == "a_clip.mp4")
    assert (clip.bucket, clip.type, clip.size_bytes, clip.sha256) == (
        "yivideo",
        "video",
        4000,
        digest(b"clip" * 1000),
    )


async def test_folder_of_objects_over_several_pages(start_node: NodeFactory, service: ShelfService) -> None:
    """A prefix is fetched whole, across pages, and not what merely begins alike."""
    service.files = {f"t1/frames/{number}.jpg": bytes([number]) for number in range(5)}
    service.files["t1/frames-old/x.jpg"] = b"x"
    node = await start_node(filestore=service.address)
    result = await node.run("toy.fetch", {"source": "t1/frames/", "directory": True})
    assert result.output["files"] == [f"{number}.jpg" for number in range(5)]


async def test_upload_is_tried_again(start_node: NodeFactory, service: ShelfService, tmp_path: Path) -> None:
    """An upload that breaks is repeated."""
    service.fail_uploads = 1
    node = await start_node(filestore=service.address)
    assert (await node.run("toy.store", {"folder": str(tmp_path)}, task_id="t1")).outcome == "completed"
    assert service.files["t1/a_clip.mp4"] == b"clip" * 1000


async def test_failed_attempt_leaves_no_objects(
    start_node: NodeFactory, service: ShelfService, tmp_path: Path
) -> None:
    """What a failed attempt has stored is deleted before its failure is told."""
    service.files = {"t1/other.txt": b"kept"}
    node = await start_node(filestore=service.address)
    result = await node.run("toy.store", {"folder": str(tmp_path), "then": "fail"}, task_id="t1")
    assert result.outcome == "failed"
    assert sorted(service.files) == ["t1/other.txt"]


async def test_cancel_while_uploading(start_node: NodeFactory, service: ShelfService, tmp_path: Path) -> None:
    """A cancel does not wait for an upload that hangs, and nothing of it is stored."""
    service.upload_begun = asyncio.Event()
    node = await start_node(filestore=service.address)
    task = asyncio.create_task(
        node.run("toy.store", {"folder": str(tmp_path)}, task_id="t1", wait_seconds=20)
    )
    await service.upload_begun.wait()
    await node.cancel("t1")
    assert (await task).outcome == "cancelled"
    assert service.files == {}


async def test_bulk_bytes_go_past_filestore(start_node: NodeFactory, tmp_path: Path) -> None:
    """Where the store is an S3, large files move by presigned URL, resumed when the connection breaks; small ones do not."""
    body = os.urandom(8 * MIB)
    async with (
        serving(Shelf(body=body, cut_after=[6 * MIB])) as web,
        running(ShelfService(files={"a.mp4": body, "b.mp4": b"small"}, web=web)) as service,
    ):
        node = await start_node(filestore=service.address, bulk_threshold_mib=0.5)
        for source in ("a.mp4", "b.mp4"):
            result = await node.run("toy.fetch", {"source": source})
            assert result.output["sha256"] == digest(service.files[source])
        assert service.downloads == [0]
        # What the client has not yet read when the connection breaks is lost: it may resume a little before the cut.
        first, second = web.offsets()
        assert first == 0 < second <= 6 * MIB


async def test_bulk_upload(start_node: NodeFactory, tmp_path: Path) -> None:
    """A large output is PUT to the store itself, and the store is asked whether it has it whole."""
    store: dict[str, bytes] = {}
    async with serving(Shelf(received=store)) as web, running(ShelfService(files=store, web=web)) as service:
        node = await start_node(filestore=service.address, bulk_threshold_mib=0.003)
        result = await node.run("toy.store", {"folder": str(tmp_path)}, task_id="t1")
        assert result.outcome == "completed"
        assert web.received["t1/a_clip.mp4"] == b"clip" * 1000
        assert [request["Content-Length"] for request in web.requests] == ["4000"] * 3


async def test_missing_object(start_node: NodeFactory, service: ShelfService) -> None:
    """An object that is not there fails the task with FILE_NOT_FOUND."""
    node = await start_node(filestore=service.address)
    assert (await node.run("toy.fetch", {"source": "none.mp4"})).error.code == "FILE_NOT_FOUND"
