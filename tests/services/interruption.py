"""Interrupts a task's worker in the middle of its work, as tests of every node with workers do."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

from nodekit.testkit import NodeUnderTest, TaskResult

DEATHS = {"cancel": 0, "kill once": 1, "kill twice": 2}
"""The ways to interrupt, and how often a worker is killed."""


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
    """Run a task on a fresh replica, and interrupt it in one of the stages in one of the ways of `DEATHS`.

    One death is survived and told of; after two the attempt fails so that it may be retried. Nothing of what was ended is left.
    """
    others = workers()  # of other replicas of this process
    reached, task_id = asyncio.Event(), f"long-{how}".replace(" ", "-")
    interrupted: list[set[int]] = []

    def note(event: Any) -> None:
        running = workers() - others - set().union(*interrupted)
        if not event.HasField("progress") or event.progress.stage not in stages or not running:
            return
        reached.set()
        if how == "cancel" and not interrupted:
            interrupted.append(running)
        elif len(interrupted) < DEATHS[how]:
            interrupted.append(running)
            for worker in running:
                os.kill(worker, signal.SIGKILL)

    run = under_test.run(task_name, request, task_id=task_id, on_event=note, wait_seconds=100)
    task = asyncio.create_task(run)
    waiting = asyncio.create_task(reached.wait())
    await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
    assert waiting.done(), task.result()
    if how == "cancel":
        await under_test.cancel(task_id, grace_seconds=0)
    result = await task
    if how == "cancel":
        assert result.outcome == "cancelled"
    elif how == "kill once":
        assert result.outcome == "completed", result.error
        assert any("goes on where it stopped" in line for line in result.logs())
    else:
        assert (result.error.code, result.error.retryable) == ("WORKER_DIED", True)
    assert not set().union(*interrupted) & workers()
    return result
