"""Interrupts a task's worker in the middle of its work, as tests of every node with workers do."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

from nodekit.testkit import NodeUnderTest, TaskResult


def workers() -> set[int]:
    """The worker processes of this process that have not ended."""
    found = set()
    for folder in Path("/proc").iterdir():
        try:
            command = (folder / "cmdline").read_bytes()
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue  # no process, or one that has just ended
        if b"worker_main.py" in command and int(parent) == os.getpid() and state != "Z":
            found.add(int(folder.name))
    return found


async def interrupt(
    under_test: NodeUnderTest, task_name: str, request: dict[str, Any], stages: set[str], how: str
) -> TaskResult:
    """Run a task on a fresh replica, and `cancel` it or `kill` its workers in one of the stages; they are gone then."""
    others = workers()  # of other replicas of this process
    reached, task_id = asyncio.Event(), f"long-{how}"

    def note(event: Any) -> None:
        if event.HasField("progress") and event.progress.stage in stages:
            reached.set()

    task = asyncio.create_task(under_test.run(task_name, request, task_id=task_id, on_event=note))
    waiting = asyncio.create_task(reached.wait())
    await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
    assert waiting.done(), task.result()
    running = workers() - others
    assert running
    if how == "cancel":
        await under_test.cancel(task_id, grace_seconds=0)
    else:
        for worker in running:
            os.kill(worker, signal.SIGKILL)
    result = await task
    if how == "cancel":
        assert result.outcome == "cancelled"
    else:
        assert (result.error.code, result.error.retryable) == ("WORKER_DIED", True)
    assert not running & workers()
    return result
