"""Looks at a stack after the requests: what crashed, what was logged, which tasks never end, what is left of deleted ones."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import grpc
import redis

from tests.fuzz.tally import Tally
from yivideo.task.v1 import task_pb2, task_pb2_grpc, workflow_pb2, workflow_pb2_grpc

ENDED = {
    task_pb2.TASK_STATE_COMPLETED, task_pb2.TASK_STATE_FAILED, task_pb2.TASK_STATE_CANCELLED, task_pb2.TASK_STATE_SKIPPED,
}  # fmt: skip
_END_SECONDS = 60.0
_CALL_SECONDS = 10.0
TRACES = (
    "Traceback (most recent call last)",
    '"level": "error"',
    '"level":"error"',
    '"level": "critical"',
    '"level":"critical"',
)


def starts(pids: Iterable[int]) -> dict[int, str]:
    """When each process started, '' when it is gone: a process that was replaced has another start."""
    found = {}
    for pid in pids:
        try:
            found[pid] = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
        except OSError:
            found[pid] = ""
    return found


def crashed(before: dict[int, str]) -> list[int]:
    """The processes that are not those which ran before."""
    now = starts(before)
    return [pid for pid, start in before.items() if now[pid] != start]


def traces(logs: Path) -> list[str]:
    """Lines of the logs that tell of a fault."""
    found = []
    for path in sorted(logs.glob("*.log")):
        for line in path.read_text(errors="replace").splitlines():
            if any(word in line for word in TRACES):
                found.append(f"{path.name}: {line}")
    return found


def group(lines: list[str]) -> dict[str, list[str]]:
    """Sort lines by the place in the code that they tell of, which stands at the end of a traceback."""
    found: dict[str, list[str]] = {}
    for line in lines:
        frames = line.split("\\n  File ")
        found.setdefault(frames[-1][:400], []).append(line)
    return found


class TaskJudge:
    """Follows every accepted task to its end."""

    def __init__(self, scheduler: grpc.aio.Channel, nodes: list[grpc.aio.Channel], metadata: Any) -> None:
        self._scheduler = task_pb2_grpc.TaskServiceStub(scheduler)
        self._workflows = workflow_pb2_grpc.WorkflowServiceStub(scheduler)
        self._nodes = [task_pb2_grpc.TaskServiceStub(channel) for channel in nodes]
        self._options = {"timeout": _CALL_SECONDS, "metadata": metadata}
        self._metadata = metadata

    async def leaked(self, tally: Tally, store: redis.Redis) -> list[str]:
        """Tasks that are not listed, never end, hold a slot for ever, or leave something behind when they are deleted."""
        listed = await self._all()
        found = [f"{name}: not listed" for name in tally.accepted - tally.deleted - set(listed)]
        await self._cancel([name for name, state in listed.items() if state not in ENDED])
        deadline = time.monotonic() + _END_SECONDS
        while time.monotonic() < deadline:
            listed = await self._all()
            open_tasks = [name for name, state in listed.items() if state not in ENDED]
            busy = [await self._busy(node) for node in self._nodes]
            if not open_tasks and not any(busy):
                break
            await asyncio.sleep(0.5)
        found += [f"{name}: has not ended" for name in open_tasks] + [
            f"a node has {n} busy slots" for n in busy if n
        ]
        await self._delete_workflows()
        for name in await self._all():
            await self._scheduler.DeleteTask(task_pb2.DeleteTaskRequest(task_id=name), **self._options)
        keys = [key.decode() for key in store.scan_iter("*")]
        found += [
            f"left in Redis: {key}"
            for key in keys
            if ":t:" in key or key.endswith((":tasks", ":count", ":held", "outbox"))
        ]
        return found

    async def _delete_workflows(self) -> None:
        """Delete every workflow that was submitted as a whole, with its tasks."""
        request = workflow_pb2.ListWorkflowsRequest(page_size=100)
        while True:
            page = await self._workflows.ListWorkflows(request, **self._options)
            for one in page.workflows:
                wanted = workflow_pb2.DeleteWorkflowRequest(workflow_id=one.spec.workflow_id, force=True)
                await self._workflows.DeleteWorkflow(wanted, **self._options)
            request.page_token = page.next_page_token
            if not request.page_token:
                return

    async def _all(self) -> dict[str, int]:
        found: dict[str, int] = {}
        token = ""
        while True:
            request = task_pb2.ListTasksRequest(page_size=100, page_token=token)
            page = await self._scheduler.ListTasks(request, **self._options)
            found |= {task.spec.task_id: task.state for task in page.tasks}
            token = page.next_page_token
            if not token:
                return found

    async def _cancel(self, names: list[str]) -> None:
        for name in names:
            request = task_pb2.CancelTaskRequest(task_id=name, grace_seconds=0)
            try:
                await self._scheduler.CancelTask(request, **self._options)
            except grpc.aio.AioRpcError as error:
                if error.code() not in (grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.NOT_FOUND):
                    raise

    async def _busy(self, node: Any) -> int:
        call = node.WatchNode(task_pb2.WatchNodeRequest(), **self._options)
        try:
            status = await anext(aiter(call))
            return int(status.slots - status.free_slots)
        finally:
            call.cancel()


def memory_mib(pids: Iterable[int]) -> float:
    """Resident memory of the processes together."""
    pages = sum(
        int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        for pid in pids
        if Path(f"/proc/{pid}").exists()
    )
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
