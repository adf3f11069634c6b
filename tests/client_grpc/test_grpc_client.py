"""The client over gRPC: the same methods, results and errors as over REST, against a real scheduler and filestore."""

from __future__ import annotations

import asyncio
import inspect
import io
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from filestore.local import LocalBackend
from filestore.servicer import SERVICE, FileServicer
from filestore.settings import FilestoreSection
from filestore.store import FileStore
from filestore.wire import add_file_service
from runtime.server import RpcServer
from tests.client.conftest import QUICK
from tests.scheduler.conftest import RUNTIME, Client, Harness, clean_redis, harness
from yivideo.task.v1 import task_pb2
from yivideo_client import ConnectionFailed, Task, TaskFailed, WaitTimeout, errors
from yivideo_client.files import Files
from yivideo_client.tasks import Tasks
from yivideo_client.workflows import Workflows
from yivideo_grpc import GrpcClient
from yivideo_grpc.files import GrpcFiles
from yivideo_grpc.tasks import GrpcTasks
from yivideo_grpc.workflows import GrpcWorkflows

__all__ = ["clean_redis", "harness"]

REST_ONLY = {"deliveries", "redeliver", "submit of a template", "templates", "template"}
"""What the gateway makes of calls for people."""


@asynccontextmanager
async def filestore(folder: Path) -> AsyncIterator[str]:
    """A real filestore over a folder."""
    store = FileStore(LocalBackend(folder), FilestoreSection())
    server = RpcServer(RUNTIME)
    server.add(add_file_service, FileServicer(store), SERVICE)
    await store.start()
    try:
        async with server.running() as address:
            yield address
    finally:
        await store.backend.aclose()


@asynccontextmanager
async def clients(served: Client, folder: Path, *users: str) -> AsyncIterator[list[GrpcClient]]:
    """A client for each user."""
    async with filestore(folder) as files:
        made = [GrpcClient(served.address, files, user=user, backoff=QUICK) for user in users]
        for client in made:
            await client.__aenter__()
        try:
            yield made
        finally:
            for client in made:
                await client.__aexit__()


@pytest.mark.parametrize(
    ("over_rest", "over_grpc"), [(Tasks, GrpcTasks), (Files, GrpcFiles), (Workflows, GrpcWorkflows)]
)
def test_both_have_the_same_methods(over_rest: type, over_grpc: type) -> None:
    """Names, parameters and their kinds: a program changes its client and nothing else."""

    def shape(kind: type) -> dict[str, list[tuple[str, Any]]]:
        return {
            name: [(one.name, one.kind) for one in inspect.signature(method).parameters.values()]
            for name, method in vars(kind).items()
            if inspect.isfunction(method) and not name.startswith("_")
        }

    rest, grpc = shape(over_rest), shape(over_grpc)
    if over_rest is Workflows:
        rest["submit of a template"] = rest.pop("submit")
    assert {name: rest[name] for name in rest.keys() - REST_ONLY} == grpc


async def test_from_a_local_file_to_a_local_result(harness: Harness, tmp_path: Path) -> None:
    """The input is uploaded, the task watched, its output fetched; progress and result as REST has them."""
    node = await harness.node()
    served = await harness.scheduler()
    film = tmp_path / "film.mp4"
    film.write_bytes(random.Random(1).randbytes(3_000_000))
    async with clients(served, tmp_path / "store", "alice") as (client,):
        events: list[str] = []

        async def work() -> None:
            here = await node.arrival("t1")
            path = str(here.request.spec.input["video_path"])
            assert (await client.files.stat(path)).size == 3_000_000
            await here.progress(50)
            made = await client.files.upload(film, "t1/sub/film.mp4")
            file = task_pb2.OutputFile(
                name="film.mp4", path=made.path, size_bytes=made.size, sha256=made.sha256, type="video"
            )
            await here.complete({"audio_path": made.path}, files=[file])

        working = asyncio.create_task(work())
        task = await client.run(
            "media.extract", {"video_path": film, "rate": 16000}, task_id="t1", labels={"a": "b"},
            download_to=tmp_path / "out", on_event=lambda event: events.append(event.name),
        )  # fmt: skip
        await working
        assert (task.status, task.task_name, task.raw["labels"]) == ("completed", "media.extract", {"a": "b"})
        assert task.output["audio_path"] == task.files[0].path
        assert events[0] == "accepted" and events[-1] == "completed" and "progress" in events
        assert (tmp_path / "out" / "sub" / "film.mp4").read_bytes() == film.read_bytes()
        again = await client.run(
            "media.extract", {"video_path": film, "rate": 16000}, task_id="t1", labels={"a": "b"}
        )
        assert again.reused or again.ended
        listed = [file.path async for file in client.files.list("t1/")]
        assert listed == [task.files[0].path] == ["t1/sub/film.mp4"]
        sent = await client.files.put_once(film, "uploads")
        assert [file.path async for file in client.files.list("uploads/")] == [sent.path], "it was sent once"
        await client.files.remove(sent.path)
        assert not await client.files.exists(sent.path)


async def test_many_tasks_and_what_becomes_of_them(harness: Harness, tmp_path: Path) -> None:
    """Submitted together, listed by state and label, cancelled, waited for, retried, deleted."""
    node = await harness.node()
    served = await harness.scheduler()
    async with clients(served, tmp_path / "store", "alice") as (client,):
        bodies: list[dict[str, Any]] = [
            {"task_name": "media.extract", "input_data": {"video_path": "a"}, "task_id": f"t{n}", "labels": {"n": str(n)}}
            for n in range(4)
        ]  # fmt: skip
        bodies[2]["task_name"] = "no.such"
        first = await client.tasks.submit_many(bodies[:1])
        running = await node.arrival("t0")  # it has the one slot; which of the others is next, nobody says
        outcomes = [*first, *await client.tasks.submit_many(bodies[1:])]
        assert [isinstance(one, Task) for one in outcomes] == [True, True, False, True]
        assert isinstance(outcomes[2], errors.InvalidRequest) and outcomes[2].code == "UNKNOWN_TASK_TYPE"
        assert {task.task_id async for task in client.tasks.list(label=["n=3"])} == {"t3"}
        assert {task.task_id async for task in client.tasks.list(status="pending")} == {"t1", "t3"}
        assert (await client.tasks.cancel("t3")).status == "cancelled"
        with pytest.raises(WaitTimeout):
            await client.tasks.wait("t1", 0.05)
        await running.fail("BROKEN")
        with pytest.raises(TaskFailed) as failed:
            await client.finish("t0")
        assert failed.value.code == "BROKEN"
        await (await node.arrival("t1")).complete()
        assert (await client.tasks.wait("t1", 5)).output == {"audio_path": "x/a.wav"}
        assert [event.name async for event in client.tasks.watch("t1", after=1)][-1] == "completed"
        again = await client.tasks.retry("t0")
        assert again.task_id != "t0" and again.task_name == "media.extract"
        assert (await client.tasks.delete("t3"))["results"]
        with pytest.raises(errors.NotFound):
            await client.tasks.get("t3")
        assert [kind.name for kind in await client.tasks.types()] == ["media.extract", "media.split"]


async def test_errors_are_those_of_rest(harness: Harness, tmp_path: Path) -> None:
    """Classes, codes and pointers; another user's things do not exist; nobody there is a connection that failed."""
    await harness.node()
    served = await harness.scheduler()
    async with clients(served, tmp_path / "store", "alice", "bob") as (alice, bob):
        with pytest.raises(errors.InvalidRequest) as refused:
            await alice.tasks.submit("media.extract", {"video_path": 5})
        assert (refused.value.status, refused.value.code) == (422, "INVALID_INPUT")
        assert refused.value.fields[0].pointer == "/input_data/video_path"
        with pytest.raises(errors.InvalidRequest):
            await alice.tasks.submit("media.extract", {"video_path": float("nan")})
        with pytest.raises(TypeError, match="shape"):
            await alice.tasks.submit("media.extract", {"video_path": "a"}, shape="round")
        await alice.tasks.submit("media.extract", {"video_path": "a"}, task_id="hers", delay_seconds=600)
        with pytest.raises(errors.Conflict):
            await alice.tasks.submit("media.extract", {"video_path": "b"}, task_id="hers")
        for call in (bob.tasks.get, bob.tasks.cancel, bob.tasks.delete, bob.tasks.retry, bob.tasks.wait):
            with pytest.raises(errors.NotFound):
                await call("hers")
        assert [task.task_id async for task in bob.tasks.list()] == []
        film = tmp_path / "film.mp4"
        film.write_bytes(b"abc")
        stored = await alice.files.upload(film, "a/film.mp4")
        with pytest.raises(errors.Conflict):
            await alice.files.upload(film, "a/film.mp4", only_new=True)
        for read in (bob.files.stat, bob.files.remove, bob.files.link):
            with pytest.raises(errors.NotFound):
                await read(stored.path)
        with pytest.raises(FileNotFoundError):
            await alice.files.upload(tmp_path / "none", "b")
    async with GrpcClient("127.0.0.1:9", backoff=QUICK) as nowhere:
        with pytest.raises(ConnectionFailed, match=r"127\.0\.0\.1:9 cannot be reached"):
            await nowhere.tasks.get("x")


async def test_streams_and_what_is_empty(tmp_path: Path) -> None:
    """What comes through a pipe and goes into one is as over REST, and so is what is refused: a file without a byte."""
    content = random.Random(3).randbytes(3_000_000)
    (tmp_path / "empty").touch()
    async with (
        filestore(tmp_path / "store") as address,
        GrpcClient("127.0.0.1:1", address, user="ann", backoff=QUICK) as client,
    ):
        files = client.files
        assert (await files.upload_stream(io.BytesIO(content), "a/b.bin")).size == len(content)
        with (tmp_path / "out").open("w+b") as out:
            assert await files.download_to("a/b.bin", out) == len(content)
        assert (tmp_path / "out").read_bytes() == content
        (tmp_path / "null").symlink_to("/dev/null")
        await files.download("a/b.bin", tmp_path / "null")
        assert (tmp_path / "null").is_char_device()
        await files.download("a/b.bin", tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == content
        for sending in (
            files.upload(tmp_path / "empty", "x"),
            files.put_once(tmp_path / "empty", "uploads"),
            files.upload_stream(io.BytesIO(), "x"),
        ):
            with pytest.raises(OSError, match="the file is empty"):
                await sending
