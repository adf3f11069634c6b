"""The filestore as a process: it starts, serves, is killed in the middle of an upload, starts again, and drains."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from grpc_health.v1 import health_pb2, health_pb2_grpc

from filestore.servicer import SERVICE
from runtime.channel import open_channel
from runtime.settings import RuntimeSection
from yivideo.file.v1 import file_pb2 as pb
from yivideo.file.v1 import file_pb2_grpc

ROOT = Path(__file__).resolve().parents[2]
MIB = 1024 * 1024


@asynccontextmanager
async def process(folder: Path, port: int) -> AsyncIterator[tuple[asyncio.subprocess.Process, Any]]:
    """Run `python -m filestore` for the time of a block; gives it and a channel, once it serves."""
    environment = {
        **os.environ,
        "YIVIDEO_FILESTORE__ROOT": str(folder / "files"),
        "YIVIDEO_RUNTIME__LISTEN": f"127.0.0.1:{port}",
        "YIVIDEO_RUNTIME__METRICS_LISTEN": "",
    }
    with (folder / "log").open("ab") as log:
        running = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "filestore", cwd=ROOT, env=environment, stderr=log, stdout=log
        )
    try:
        async with open_channel(f"127.0.0.1:{port}", RuntimeSection()) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            request = health_pb2.HealthCheckRequest(service=SERVICE)
            answer = await health.Check(request, wait_for_ready=True, timeout=20)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
            yield running, channel
    finally:
        if running.returncode is None:
            running.kill()
        await running.wait()


async def test_killed_in_the_middle_of_an_upload(tmp_path: Path, free_port: Callable[[], int]) -> None:
    """SIGKILL leaves a partial file that the next start removes; files stored before are whole; SIGTERM ends with 0."""
    partial = tmp_path / "files" / "partial"
    sent = asyncio.Event()

    async def endless() -> AsyncIterator[pb.UploadRequest]:
        yield pb.UploadRequest(header=pb.UploadHeader(path="never"))
        for _ in range(10):
            yield pb.UploadRequest(chunk=bytes(MIB))
        sent.set()
        await asyncio.Event().wait()

    async def whole() -> AsyncIterator[pb.UploadRequest]:
        yield pb.UploadRequest(header=pb.UploadHeader(path="kept"))
        yield pb.UploadRequest(chunk=b"content")
        yield pb.UploadRequest(trailer=pb.UploadTrailer(size_bytes=7))

    async with process(tmp_path, free_port()) as (running, channel):
        stub = file_pb2_grpc.FileServiceStub(channel)
        await stub.Upload(whole(), timeout=20)
        call = stub.Upload(endless(), timeout=20)
        await sent.wait()
        async with asyncio.timeout(10):
            while not names(partial):
                await asyncio.sleep(0.01)
        running.send_signal(signal.SIGKILL)
        await running.wait()
        call.cancel()
    assert len(names(partial)) == 1
    async with process(tmp_path, free_port()) as (running, channel):
        stub = file_pb2_grpc.FileServiceStub(channel)
        listed = await stub.ListFiles(pb.ListFilesRequest(recursive=True), timeout=20)
        assert [file.path for file in listed.files] == ["kept"]
        received = [message async for message in stub.Download(pb.DownloadRequest(path="kept"), timeout=20)]
        assert received[1].chunk == b"content"
        assert names(partial) == []
        running.send_signal(signal.SIGTERM)
        assert await running.wait() == 0


def names(folder: Path) -> list[str]:
    """Return the names in a folder."""
    return [path.name for path in folder.iterdir()]
