"""The REST surface as the demo uses it: upload, submit, events, result, download, delete."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson


class RequestRefused(Exception):
    """The gateway answered with an error."""


@dataclass(frozen=True)
class ServerEvent:
    """One server-sent event."""

    name: str
    sequence: int
    data: dict[str, Any]


class Client:
    """One session with a gateway."""

    def __init__(self, url: str) -> None:
        self._session = aiohttp.ClientSession(url, timeout=aiohttp.ClientTimeout(total=120))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def _call(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        async with self._session.request(method, path, **options) as response:
            body: dict[str, Any] = orjson.loads(await response.read())
            if response.status >= 400:
                raise RequestRefused(
                    f"{method} {path}: {response.status} {body.get('code')}: {body.get('detail')}"
                )
            return body

    async def task_types(self) -> frozenset[str]:
        """Return the names of the tasks that are offered."""
        body = await self._call("GET", "/v1/task-types")
        return frozenset(one["name"] for one in body["task_types"])

    async def upload(self, path: Path, object_path: str) -> dict[str, Any]:
        """Upload one file; gives the answer with `file_path` and `download_url`."""
        form = aiohttp.FormData()
        form.add_field("file_path", object_path)
        with path.open("rb") as file:
            form.add_field("file", file, filename=path.name)
            return await self._call("POST", "/v1/files/upload", data=form)

    async def submit(self, task: dict[str, Any]) -> dict[str, Any]:
        """Submit one task."""
        return await self._call("POST", "/v1/tasks", json=task)

    async def result(self, task_id: str) -> dict[str, Any]:
        """Return a task's status body with its result."""
        return await self._call("GET", f"/v1/tasks/{task_id}/result")

    async def delete(self, task_id: str) -> dict[str, Any]:
        """Delete a task with its files; gives the report."""
        return await self._call("POST", f"/v1/tasks/{task_id}/delete", json={"force": False})

    async def download(self, object_path: str, target: Path) -> int:
        """Download one file; gives its size in bytes."""
        async with self._session.get(f"/v1/files/download/{object_path}") as response:
            response.raise_for_status()
            size = 0
            with target.open("wb") as file:
                async for chunk in response.content.iter_chunked(1 << 20):
                    size += file.write(chunk)
        return size

    async def events(self, task_id: str) -> AsyncIterator[ServerEvent]:
        """Follow a task's events to the terminal one."""
        async with self._session.get(
            f"/v1/tasks/{task_id}/events", timeout=aiohttp.ClientTimeout(total=None, sock_read=60)
        ) as response:
            response.raise_for_status()
            name, sequence, data = "message", 0, ""
            async for raw in response.content:
                line = raw.decode().rstrip("\r\n")
                if not line and data:
                    yield ServerEvent(name, sequence, orjson.loads(data))
                    name, data = "message", ""
                field, _, value = line.partition(":")
                value = value.removeprefix(" ")
                match field:
                    case "event":
                        name = value
                    case "id":
                        sequence = int(value)
                    case "data":
                        data += value
