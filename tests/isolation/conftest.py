"""One real store with the files of several users, a gateway with their keys before it, and a node behind it."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from filestore.backend import FileInfo, NewFile
from filestore.local import LocalBackend
from filestore.servicer import SERVICE, FileServicer
from filestore.settings import FilestoreSection
from filestore.store import FileStore
from filestore.wire import add_file_service
from gateway.settings import ApiKey, Scope
from runtime.server import RpcServer
from runtime.structs import to_struct
from tests.filestore.contents import pieces
from tests.gateway.conftest import RUNTIME, Harness, start_harness
from yivideo.task.v1 import task_pb2

__all__ = ["start_harness"]

KEYS = {
    "alice": frozenset({Scope.TASKS, Scope.FILES}),
    "bob": frozenset({Scope.TASKS, Scope.FILES}),
    "eve": frozenset({Scope.TASKS}),
    "root": frozenset({Scope.TASKS, Scope.FILES_ALL, Scope.OPERATIONS}),
}
"""User to scopes; the key of `alice` is `yiv_alice`."""

ALICES = {
    "archive-1/film.mp4": b"alice's film",
    "archive-1/inline.wav": b"alice's sound",
    "library/song.wav": b"shared",
}
SHARED = "library/song.wav"
SECRET = "archive-1/film.mp4"


def headers(user: str) -> dict[str, str]:
    """Return the headers that a user's key travels in."""
    return {"X-API-Key": f"yiv_{user}"}


@dataclass
class House:
    """What the attacks are made on."""

    http: aiohttp.ClientSession
    harness: Harness
    store: FileStore
    files_address: str
    answers: list[tuple[str, int, bytes]] = field(default_factory=list)

    async def put(self, path: str, user: str, content: bytes, task_id: str = "") -> FileInfo:
        """Store a file past all gates."""
        sha256 = hashlib.sha256(content).hexdigest()
        file = NewFile("", path, "", sha256=sha256, task_id=task_id, owner=user)
        return await self.store.put(file, pieces(content))

    async def ask(self, method: str, path: str, user: str, **more: Any) -> tuple[int, bytes, str]:
        """Make a request with a user's key; gives status, body and where a redirect leads."""
        sent = headers(user) | more.pop("headers", {})
        async with self.http.request(method, path, headers=sent, allow_redirects=False, **more) as response:
            return response.status, await response.read(), response.headers.get("Location", "")

    async def state(self) -> dict[str, tuple[str, str, str]]:
        """Return what the store holds: path to owner, checksum and task."""
        page, _ = await self.store.list_page("", "", recursive=True, page_size=0, token="")
        return {info.path: (info.owner, info.sha256, info.task_id) for info in page.files}

    async def read(self, path: str) -> bytes:
        """Return a file's content."""
        async with self.store.open("", path) as opened:
            return b"".join([chunk async for chunk in opened.chunks])

    def tasks(self) -> dict[str, bytes]:
        """Return every task of the scheduler."""
        return {name: task.SerializeToString() for name, task in self.harness.scheduler.tasks.items()}


@pytest.fixture
async def house(start_harness: Any, tmp_path: Path) -> AsyncIterator[House]:
    """A house where alice has files and an ended task."""
    backend = LocalBackend(tmp_path / "store")
    await backend.start("yivideo")
    store = FileStore(
        backend, FilestoreSection(shared_prefixes=("library/",), gateway_url="http://gateway.example")
    )
    server = RpcServer(RUNTIME)
    server.add(add_file_service, FileServicer(store), SERVICE)
    keys = tuple(
        ApiKey(key_sha256=hashlib.sha256(f"yiv_{user}".encode()).hexdigest(), user=user, scopes=scopes)
        for user, scopes in KEYS.items()
    )
    async with server.running() as address:
        async with start_harness(filestore_address=address, api_keys=keys) as harness:
            made = House(harness.http, harness, store, address)
            for path, content in ALICES.items():
                await made.put(path, "alice", content)
            spec = task_pb2.TaskSpec(
                task_id="archive-1",
                task_name="ffmpeg.extract_audio",
                input=to_struct({"video_path": SECRET}),
                user="alice",
            )
            harness.scheduler.tasks["archive-1"] = task_pb2.Task(spec=spec)
            await harness.scheduler.complete("archive-1")
            yield made
    await backend.aclose()
