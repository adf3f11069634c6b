"""Laws of media out on a node that runs alone."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.nodekit.conftest import NodeFactory, eventually


def stored(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


async def test_outputs_lie_under_the_task(start_node: NodeFactory, tmp_path: Path) -> None:
    """Files and folders are stored under the task's id with clean names, and the scratch folder is gone afterwards."""
    node = await start_node()
    result = await node.run("toy.store", {"folder": str(tmp_path)}, task_id="t1")
    assert stored(node.root) == [
        "t1/a_clip.mp4",
        *(f"t1/frames/{number:04d}.jpg" for number in range(6)),
        "t1/parts/a.wav",
        "t1/parts/b.wav",
    ]
    assert result.output["frames_dir"] == "t1/frames/"
    assert "clip_path_minio_url" not in result.output
    assert {file.type for file in result.files} == {"video", "image", "audio"}
    scratch = Path((tmp_path / "scratch").read_text())
    assert not scratch.exists()


async def test_failed_and_cancelled_attempts_leave_nothing(start_node: NodeFactory, tmp_path: Path) -> None:
    """What an attempt has stored is deleted when it fails or is cancelled."""
    node = await start_node()
    assert (await node.run("toy.store", {"folder": str(tmp_path), "then": "fail"})).outcome == "failed"
    task = asyncio.create_task(node.run("toy.store", {"folder": str(tmp_path), "then": "wait"}, task_id="t2"))
    await eventually(lambda: (tmp_path / "stored").exists())
    assert stored(node.root)
    await node.cancel("t2")
    assert (await task).outcome == "cancelled"
    assert stored(node.root) == []


async def test_next_attempt_replaces(start_node: NodeFactory, tmp_path: Path) -> None:
    """A newer attempt that replaces a running one keeps its own outputs: the older one deletes none of them."""
    node = await start_node()
    task_input = {"folder": str(tmp_path), "then": "wait"}
    older = asyncio.create_task(node.run("toy.store", task_input, task_id="t1", attempt=1, fence=1))
    await eventually(lambda: (tmp_path / "stored").exists())
    newer = await node.run("toy.store", {"folder": str(tmp_path)}, task_id="t1", attempt=2, fence=2)
    await asyncio.gather(older, return_exceptions=True)
    assert newer.outcome == "completed"
    assert len(stored(node.root)) == 9
