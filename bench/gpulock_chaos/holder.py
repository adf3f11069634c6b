"""A node under attack: `python -m bench.gpulock_chaos.holder`. Its one task uses a device through nodekit as any task does."""

from __future__ import annotations

import sys
from pathlib import Path

from pydantic import Field

from nodekit import Node, TaskContext, TaskFailed, TaskInput, TaskOutput, serve
from nodekit.gpu.guard import key_of
from yivideo.gpulock.v1 import lock_pb2

node = Node("holder")

WORK = Path(__file__).with_name("work.py")


class HoldInput(TaskInput):
    """What to do with the device."""

    journals: str
    """Folder of the journals."""
    guard: str
    """Folder of the device registers."""
    task: str
    """Name for the journal."""
    seconds: float = Field(ge=0, le=60)
    """How long to use it."""


class HoldOutput(TaskOutput):
    """With what it was done."""

    token: int
    """Fencing token."""


@node.task("holder.hold", gpu=True)
async def hold(request: HoldInput, context: TaskContext) -> HoldOutput:
    """Uses a whole device for a while, and publishes what came of it."""
    async with context.gpu(max_wait_seconds=600) as lease:
        device = lease.devices[0]
        shown = lock_pb2.LeasedDevice(device=device.name, visible=device.visible)
        journal = Path(request.journals) / f"{request.task}.journal"
        register = Path(request.guard) / f"{key_of(shown)}.json"
        command: list[str | Path] = [
            sys.executable,
            "-S",
            WORK,
            journal,
            device.name,
            str(lease.token),
            request.task,
        ]
        done = await context.run([*command, f"{request.seconds}", "0", register])
        if done.returncode != 0:
            raise TaskFailed("GPU_LEASE_STALE", f"the work ended with {done.returncode}", retryable=True)
        return HoldOutput(token=lease.token)


if __name__ == "__main__":
    serve(node)
