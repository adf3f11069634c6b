"""A node for nodekit's own tests: each task does one thing that nodekit must get right. Also runs as a process of its own."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import hashlib
import os
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import Field

from nodekit import MediaRef, Node, TaskContext, TaskFailed, TaskInput, TaskOutput, serve
from runtime.errors import FileNotFound, Unavailable
from runtime.fault import Fault

node = Node("toy", slots=4, engines=["sh/1"])


class Nothing(TaskOutput):
    """No result."""


class EchoInput(TaskInput):
    text: str
    """What to say."""
    times: int = Field(1, ge=1, le=9)
    api_key: str = ""
    nested: dict[str, int] = Field(default={})


class EchoOutput(TaskOutput):
    text: str


@node.task("toy.echo")
async def echo(request: EchoInput, context: TaskContext) -> EchoOutput:
    """Says it again."""
    return EchoOutput(text=request.text * request.times)


class LingerInput(EchoInput):
    seconds: float = 0


@node.task("toy.linger")
async def linger(request: LingerInput, context: TaskContext) -> EchoOutput:
    """Says it again after a while."""
    await context.progress(50, "wait")
    await asyncio.sleep(request.seconds)
    return EchoOutput(text=request.text)


class GateInput(TaskInput):
    folder: str
    """Folder with the journal; the task ends when it holds a file `open`."""
    store_gone: bool = False
    """Whether the store cannot be reached when it ends."""
    progress: int = 0
    checkpoint: dict[str, Any] = Field(default={})


@node.task("toy.gate")
async def gate(request: GateInput, context: TaskContext) -> EchoOutput:
    """Notes its start, then waits for the gate to open."""
    folder = Path(request.folder)
    with (folder / "journal").open("a") as journal:
        journal.write(f"start {context.attempt}\n")
    if request.checkpoint:
        await context.save_checkpoint(request.checkpoint)
    for number in range(request.progress):
        await context.log(f"line {number}")
    try:
        while not (folder / "open").exists():
            await asyncio.sleep(0.01)
    finally:
        with (folder / "journal").open("a") as journal:
            journal.write(f"end {context.attempt}\n")
    if request.store_gone:
        raise Unavailable("the store cannot be reached")
    return EchoOutput(text=str(context.checkpoint))


class ShellInput(TaskInput):
    script: str
    kind: str = "run"


class ShellOutput(TaskOutput):
    returncode: int
    lines: list[str]
    stderr: str


@node.task("toy.shell")
async def shell(request: ShellInput, context: TaskContext) -> ShellOutput:
    """Runs a shell script."""
    lines: list[str] = []
    done = await context.run(["sh", "-c", request.script], on_line=lines.append)
    return ShellOutput(returncode=done.returncode, lines=lines[:100], stderr=done.stderr_tail[-200:])


@node.task("toy.piped")
async def piped(request: ShellInput, context: TaskContext) -> ShellOutput:
    """Reads a shell script's output as bytes: all of it, only its beginning, or judging its end by itself."""
    total = 0
    async with context.pipe(["sh", "-c", request.script]) as output:
        while chunk := await output.read(65536):
            total += len(chunk)
            if request.kind == "first":
                break
        code = (await output.completed()).returncode if request.kind == "judge" else 0
    return ShellOutput(returncode=code, lines=[str(total)], stderr="")


class StuckInput(TaskInput):
    folder: str
    how: str


def be_stuck(folder: str, how: str) -> None:
    """Tell our process id, then never return to Python."""
    Path(folder, "worker.pid").write_text(str(os.getpid()))
    if how == "hash":
        hashlib.pbkdf2_hmac("sha256", b"password", b"salt", 2_000_000_000)
    else:
        # PyDLL keeps the interpreter lock, as an extension module that never gives it back does.
        ctypes.PyDLL(None).sleep(600)


@node.task("toy.stuck")
async def stuck(request: StuckInput, context: TaskContext) -> Nothing:
    """Hangs in native code in a worker."""
    await context.call(be_stuck, request.folder, request.how)
    return Nothing()


class StoreInput(TaskInput):
    folder: str
    then: str = "return"


class StoreOutput(TaskOutput):
    clip_path: MediaRef
    frames_dir: MediaRef
    part_files: list[MediaRef] = Field(default=[])
    foreign_path: MediaRef = "task-other/secret.wav"


@node.task("toy.store", reuse_field="frames_dir")
async def store(request: StoreInput, context: TaskContext) -> StoreOutput:
    """Stores a file and a folder, then returns, fails or waits."""
    clip = context.output_path("a clip.mp4")
    clip.write_bytes(b"clip" * 1000)
    frames = context.output_directory("frames")
    for number in range(6):
        (frames / f"{number:04d}.jpg").write_bytes(bytes([number]) * 10)
    stored = StoreOutput(
        clip_path=await context.store(clip),
        frames_dir=await context.store_directory(frames),
        part_files=[await context.store(clip, name=f"parts/{name}.wav") for name in "ab"],
    )
    folder = Path(request.folder)
    (folder / "scratch").write_text(str(clip.parent))
    if request.then == "fail":
        raise TaskFailed("MEDIA_UNREADABLE", "the clip is not a clip", field="/clip")
    if request.then == "wait":
        (folder / "stored").touch()
        await asyncio.sleep(600)
    return stored


class FetchInput(TaskInput):
    source: MediaRef
    directory: bool = False


class FetchOutput(TaskOutput):
    name: str
    sha256: str
    files: list[str] = Field(default=[])


@node.task("toy.fetch")
async def fetch(request: FetchInput, context: TaskContext) -> FetchOutput:
    """Fetches media and tells what came."""
    if request.directory:
        folder = await context.fetch_directory(request.source)
        files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        return FetchOutput(name=folder.name, sha256="", files=files)
    path = await context.fetch(request.source)
    return FetchOutput(name=path.name, sha256=hashlib.sha256(path.read_bytes()).hexdigest())


class FailInput(TaskInput):
    how: str


def raise_in_worker() -> None:
    """Fail in the worker as an author would."""
    raise TaskFailed("WORKER_SAYS_NO", "not today", retryable=True)


class ToyCode(StrEnum):
    """What can be wrong in the working code of this node."""

    TOY_BROKEN = "TOY_BROKEN"


class ToyFault(Fault[ToyCode]):
    """What the working code raises, which knows no task."""


def find_fault() -> None:
    """Raise in a worker what the working code raises."""
    raise ToyFault(ToyCode.TOY_BROKEN, "its spring is gone", "/how", retryable=True)


def die_in_worker() -> None:
    """Die as a process does that the kernel kills for its memory."""
    os.kill(os.getpid(), 9)


@node.task("toy.fail", timeout_seconds=60)
async def fail(request: FailInput, context: TaskContext) -> EchoOutput:
    """Fails in the way asked for."""
    match request.how:
        case "task_failed":
            raise TaskFailed("MEDIA_UNREADABLE", "x" * 5000, retryable=True, field="/how")
        case "bug":
            raise KeyError("secret detail")
        case "disk_full":
            raise OSError(errno.ENOSPC, "No space left on device")
        case "not_found":
            raise FileNotFound("there is no file a/b")
        case "worker_raises":
            await context.call(raise_in_worker)
        case "worker_dies":
            await context.call(die_in_worker)
        case "fault":
            await context.call(find_fault)
        case "wrong_type":
            return Nothing()  # type: ignore[return-value]
        case "skip":
            context.skipped = True
        case "stubborn":
            await _stubborn()
        case "large":
            return EchoOutput(text="x" * 2_000_000)
    return EchoOutput(text="no failure")


async def _stubborn() -> None:
    """Swallow two cancellations."""
    for _ in range(2):
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            continue


if __name__ == "__main__":
    serve(node)
