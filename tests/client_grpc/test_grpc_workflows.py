"""Workflows over gRPC: the same methods, results and errors as over REST, against a real scheduler and filestore."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.client_grpc.test_grpc_client import clients
from tests.scheduler.conftest import Harness, clean_redis, harness
from yivideo.task.v1 import task_pb2
from yivideo_client import WaitTimeout, WorkflowFailed, errors

__all__ = ["clean_redis", "harness"]

TWO: list[dict[str, Any]] = [
    {"key": "first", "task_name": "media.extract", "input_data": {"video_path": "film.mp4"}},
    {
        "key": "second",
        "task_name": "media.extract",
        "input_data": {"video_path": "${{ tasks.first.output.audio_path }}"},
        "depends_on": ["first"],
    },
]


async def test_from_tasks_to_local_results(harness: Harness, tmp_path: Path) -> None:
    """Submitted as one, watched in one stream from its acceptance to its end, and what its tasks stored is here."""
    node = await harness.node()
    served = await harness.scheduler()
    (tmp_path / "a.wav").write_bytes(b"sound")
    async with clients(served, tmp_path / "store", "alice") as (client,):
        made = await client.workflows.submit_tasks(TWO, workflow_id="w", labels={"a": "b"})
        assert [task.task_id for task in made.tasks] == ["w-first", "w-second"] and not made.reused
        again = await client.workflows.submit_tasks(TWO, workflow_id="w", labels={"a": "b"})
        assert again.reused and again.workflow_id == "w"
        assert [one.workflow_id async for one in client.workflows.list(status="pending,running")] == ["w"]
        seen: list[tuple[str, int]] = []
        finishing = asyncio.create_task(
            client.workflows.finish("w", lambda event: seen.append((event.name, event.sequence)))
        )
        await (await node.arrival("w-first")).complete({"audio_path": "w-first/a.wav"})
        second = await node.arrival("w-second")
        assert second.request.spec.input["video_path"] == "w-first/a.wav"
        stored = await client.files.upload(tmp_path / "a.wav", "w-second/a.wav")
        file = task_pb2.OutputFile(
            name="a.wav", path=stored.path, size_bytes=5, sha256=stored.sha256, type="audio"
        )
        await second.complete({"audio_path": stored.path}, files=[file])
        workflow = await finishing
        assert (workflow.status, [task.key for task in workflow.tasks]) == ("completed", ["first", "second"])
        assert seen[0][0] == "workflow_accepted" and seen[-1][0] == "workflow_completed"
        stored_ones = [sequence for _, sequence in seen if sequence]
        assert stored_ones == list(range(1, len(stored_ones) + 1)), "none is missed and none comes twice"
        later = [event.sequence async for event in client.workflows.watch("w", after=3) if event.sequence]
        assert later == stored_ones[3:]
        paths = await client.workflows.fetch_results(workflow, tmp_path / "out")
        assert [path.read_bytes() for path in paths] == [b"sound"]
        report = await client.workflows.delete("w")
        assert (report["status"], report["record"]["status"]) == ("success", "deleted")
        assert [one["task_id"] for one in report["tasks"]] == ["w-first", "w-second"]
        with pytest.raises(errors.NotFound):
            await client.workflows.get("w")


async def test_failed_let_go_on_and_cancelled(harness: Harness, tmp_path: Path) -> None:
    """What failed runs again under its own id; a watcher of both lives sees both ends."""
    node = await harness.node()
    served = await harness.scheduler()
    async with clients(served, tmp_path / "store", "alice") as (client,):
        await client.workflows.submit_tasks(TWO, workflow_id="w")
        with pytest.raises(WaitTimeout):
            await client.workflows.wait("w", 0.05)
        await (await node.arrival("w-first")).fail("BROKEN")
        with pytest.raises(WorkflowFailed):
            await client.workflows.finish("w")
        assert (await client.workflows.retry("w")).status in {"pending", "running"}
        here = await node.arrival("w-first", 2)
        assert (await client.workflows.cancel("w")).state in {"cancelling", "cancelled"}
        await here.wait_cancel()
        await here.say(cancelled=task_pb2.TaskCancelled(reason="enough"))
        assert (await client.workflows.wait("w", 10)).status == "cancelled"
        ends = [
            event.name async for event in client.workflows.watch("w") if event.name.startswith("workflow_")
        ]
        assert [
            one for one in ends if one in {"workflow_failed", "workflow_retrying", "workflow_cancelled"}
        ] == [
            "workflow_failed",
            "workflow_retrying",
            "workflow_cancelled",
        ]


async def test_errors_are_those_of_rest(harness: Harness, tmp_path: Path) -> None:
    """Pointers lead into the client's own body; another user's workflows do not exist."""
    await harness.node()
    served = await harness.scheduler()
    wrong = [{"task_name": "media.extract", "input_data": {"video_path": 5}}]
    async with clients(served, tmp_path / "store", "alice", "bob") as (alice, bob):
        with pytest.raises(errors.InvalidRequest) as refused:
            await alice.workflows.submit_tasks(wrong)
        assert refused.value.fields[0].pointer == "/tasks/0/input_data/video_path"
        with pytest.raises(TypeError, match="shape"):
            await alice.workflows.submit_tasks(TWO, shape="round")
        await alice.workflows.submit_tasks(TWO, workflow_id="hers")
        with pytest.raises(errors.Conflict):
            await alice.workflows.submit_tasks(TWO[:1], workflow_id="hers")
        for call in (
            bob.workflows.get,
            bob.workflows.cancel,
            bob.workflows.delete,
            bob.workflows.retry,
            bob.workflows.wait,
        ):
            with pytest.raises(errors.NotFound):
                await call("hers")
        assert [one.workflow_id async for one in bob.workflows.list()] == []
