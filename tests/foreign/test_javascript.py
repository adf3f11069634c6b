"""A node in JavaScript, written from the contract's text: the judge finds nothing, and a real scheduler works with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from pydantic import SecretStr

from nodekit.conformance.judge import judge
from nodekit.conformance.node_caller import Example, NodeCaller
from runtime.settings import RuntimeSection
from tests.foreign.conftest import TOKEN, node_process
from tests.scheduler.conftest import Harness
from yivideo.task.v1 import task_pb2

TASK = "parrot.repeat"
LONG = {"text": "a", "seconds": 300}


@pytest.mark.trial("10.16")
async def test_the_judge_finds_nothing(
    javascript: str, record_property: Callable[[str, object], None]
) -> None:
    """All laws are kept, the token's too."""
    runtime = RuntimeSection(metrics_listen="", token=SecretStr(TOKEN))
    example = Example(TASK, {"text": "a", "seconds": 0.1}, LONG, run_seconds=10)
    with node_process(javascript, TOKEN, orphan_seconds=0.5, heartbeat_seconds=0.2) as node:
        caller = NodeCaller(node.address, runtime, example, orphan_seconds=0.5, beat_seconds=0.5)
        try:
            findings = await judge(caller)
        finally:
            await caller.aclose()
    wrong = [f"{one.law}: {one.text}" for one in findings if one.outcome != "kept"]
    record_property("conformance_js", "passed" if findings and not wrong else f"{len(wrong)} laws not kept")
    assert not wrong
    assert len(findings) > 20


@pytest.mark.trial("10.16")
async def test_it_runs_under_the_scheduler(javascript: str, harness: Harness) -> None:
    """Tasks complete, fail by schema, time out and are cancelled on it as on any node; a drained one hands back, uncounted."""
    with node_process(javascript, slots=2, heartbeat_seconds=0.3) as node:
        harness.addresses["parrot"] = [node.address]
        client = await harness.scheduler()
        await client.submit("done", TASK, input={"text": "ab", "times": 2, "seconds": 0.3})
        done = await client.ended("done")
        assert (done.state, done.output["text"]) == (task_pb2.TASK_STATE_COMPLETED, "abab")
        kinds = [event.WhichOneof("event") for event in await client.events("done")]
        assert kinds[:3] == ["accepted", "started", "progress"] and kinds[-1] == "completed"
        await client.submit("stopped", TASK, input=LONG)
        await client.submit("late", TASK, input=LONG, timeout_seconds=1)
        await _running(client.get, "stopped")
        await client.cancel("stopped", reason="enough")
        stopped, late = await client.ended("stopped"), await client.ended("late")
        assert (stopped.state, stopped.cancel_reason) == (task_pb2.TASK_STATE_CANCELLED, "enough")
        assert late.error.code == "DEADLINE_EXCEEDED"
        await client.submit("back", TASK, input=LONG)
        await _running(client.get, "back")
        assert await asyncio.to_thread(node.stop) == 0
        async with asyncio.timeout(10):
            while (task := await client.get("back")).state != task_pb2.TASK_STATE_PENDING:
                await asyncio.sleep(0.02)
        assert (task.attempt, task.worker_lost_count) == (0, 0)


@pytest.mark.trial("10.16")
async def test_a_deleted_tasks_result_never_returns(javascript: str, harness: Harness) -> None:
    """The same id submitted again after a delete runs again, as attempt 1 again, and gives its own result."""
    with node_process(javascript, heartbeat_seconds=0.3) as node:
        harness.addresses["parrot"] = [node.address]
        client = await harness.scheduler()
        for text in ("first", "second"):
            await client.submit("same", TASK, input={"text": text})
            task = await client.ended("same")
            assert (task.output["text"], task.attempt) == (text, 1)
            await client.stub.DeleteTask(task_pb2.DeleteTaskRequest(task_id="same"))


async def _running(get: Callable[[str], object], task_id: str) -> None:
    async with asyncio.timeout(10):
        while (await get(task_id)).state != task_pb2.TASK_STATE_RUNNING:  # type: ignore[misc]
            await asyncio.sleep(0.01)
        await asyncio.sleep(0)
