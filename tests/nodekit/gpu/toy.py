"""A node whose tasks use GPUs as they should and as they should not. Also runs as a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from pathlib import Path

from pydantic import Field

from nodekit import Node, TaskContext, TaskFailed, TaskInput, TaskOutput, serve
from tests.nodekit.gpu import toy_engine

node = Node("gputoy", slots=8)


class Told(TaskOutput):
    token: int = 0
    devices: list[str] = Field(default=[])
    memory_mib: int = 0
    lines: list[str] = Field(default=[])


class HoldInput(TaskInput):
    folder: str
    """Folder of the journal; the work ends when it holds a file named like the task's `gate`."""
    gate: str = "open"
    memory_mib: int = 0
    device_count: int = 1
    device: str = ""
    pool: str = ""
    preemptible: bool = False
    max_wait_seconds: float = 0
    how: str = "child"


def script(folder: str, gate: str, mark: str = "") -> list[str]:
    """Return a program that notes its start and its end; killed, it notes no end."""
    work = (
        f'echo "begin $CUDA_VISIBLE_DEVICES $YIVIDEO_GPU_MEMORY_MIB {mark}" >> {folder}/journal;'
        f" while [ ! -e {folder}/{gate} ]; do sleep 0.01; done; echo end >> {folder}/journal"
    )
    return ["sh", "-c", work]


@node.task("gputoy.hold", gpu=True)
async def hold(request: HoldInput, context: TaskContext) -> Told:
    """Holds devices while it works."""
    folder = request.folder
    async with context.gpu(
        memory_mib=request.memory_mib,
        device_count=request.device_count,
        device=request.device,
        pool=request.pool,
        preemptible=request.preemptible,
        max_wait_seconds=request.max_wait_seconds,
    ) as lease:
        lines: list[str] = []
        match request.how:
            case "child":
                done = await context.run(script(folder, request.gate, str(lease.token)))
                if done.returncode != 0:
                    raise TaskFailed("CHILD_ENDED", f"with {done.returncode}")
            case "worker":
                lines = await context.call(toy_engine.look, folder)
            case "leave_behind":
                await context.run(["sh", "-c", f"setsid sh -c 'while :; do sleep 71; : {folder}; done' & :"])
                behind = asyncio.create_task(context.run(script(folder, "never")))
                while not Path(folder, "journal").exists():
                    await asyncio.sleep(0.01)
                behind.add_done_callback(lambda _: None)
            case "stubborn":
                for _ in range(2):
                    try:
                        await context.run(script(folder, "never"))
                    except asyncio.CancelledError:
                        continue
    return Told(
        token=lease.token,
        devices=[device.name for device in lease.devices],
        memory_mib=lease.memory_mib,
        lines=lines,
    )


@node.task("gputoy.swallow", gpu=True)
async def swallow(request: HoldInput, context: TaskContext) -> Told:
    """Goes on as if nothing had been, after its lease was lost."""
    try:
        async with context.gpu():
            await context.run(script(request.folder, request.gate))
    except TaskFailed as error:
        result = context.output_path("result.txt")
        result.write_text(error.code)
        if request.how == "store":
            try:
                await context.store(result)
            except TaskFailed:
                Path(request.folder, "refused").touch()
    return Told(lines=["a result under a stale fence"])


@node.task("gputoy.undeclared")
async def undeclared(request: HoldInput, context: TaskContext) -> Told:
    """Uses a GPU without saying so."""
    async with context.gpu():
        return Told()


@node.task("gputoy.outside", gpu=True)
async def outside(request: HoldInput, context: TaskContext) -> Told:
    """Works beside its lease: what is started outside the block is not the lease's."""
    before = asyncio.create_task(context.run(script(request.folder, "later", "outside")))
    async with context.gpu() as lease:
        await context.run(script(request.folder, request.gate, "inside"))
    Path(request.folder, "later").touch()
    await before
    return Told(token=lease.token)


class ModelInput(TaskInput):
    folder: str
    key: str = "large"
    memory_mib: int = 0
    device: str = ""
    how: str = ""
    wait: str = ""
    """Gate that the use waits for; empty: none."""


@node.task("gputoy.model", gpu=True)
async def model(request: ModelInput, context: TaskContext) -> Told:
    """Uses a model that stays loaded."""
    loading = functools.partial(toy_engine.load, request.folder, request.key)
    async with context.warm(
        request.key, loading, memory_mib=request.memory_mib, device=request.device
    ) as warm:
        if request.how == "interrupt":
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.05):
                    await warm.run(toy_engine.use, request.folder, "", "never")
        lines = await warm.run(toy_engine.use, request.folder, request.how, request.wait)
        return Told(token=warm.lease.token, lines=[*lines, "warm" if warm.warm else "loaded"])


if __name__ == "__main__":
    serve(node)
