"""An HTTP server that stands for the object store behind the filestore's links: ranges, If-Match, and the ways it can fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from tests.gateway.fake_filestore import BUCKET, FakeFilestore

STEP_BYTES = 64 * 1024


class ObjectStore:
    """Serves a room's files."""

    def __init__(self, room: FakeFilestore) -> None:
        self._room = room
        self.served = 0
        self.cut_after_bytes: int | None = None
        """An answer ends, and its connection closes, once so much of it was sent."""
        self.replaced = False
        """Answer as if the file had another etag by now."""
        self.open = 0
        self.changed = asyncio.Condition()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer a GET as S3 does."""
        stored = self._room.files[BUCKET, request.match_info["path"]]
        if (
            self.replaced
            or request.headers.get("If-Match", f'"{stored.file.etag}"') != f'"{stored.file.etag}"'
        ):
            return web.Response(status=412)
        self.served += 1
        asked = request.http_range
        part = stored.content[asked]
        response = web.StreamResponse(headers={"ETag": f'"{stored.file.etag}"'})
        response.content_length = len(part)
        if "Range" in request.headers:
            response.set_status(206)
            start = asked.start
            response.headers["Content-Range"] = f"bytes {start}-{start + len(part) - 1}/{len(stored.content)}"
        await self._count(1)
        try:
            await response.prepare(request)
            for at in range(0, len(part), STEP_BYTES):
                if self.cut_after_bytes is not None and at >= self.cut_after_bytes:
                    assert request.transport is not None
                    request.transport.close()
                    break
                await response.write(part[at : at + STEP_BYTES])
            return response
        finally:
            await self._count(-1)

    async def _count(self, change: int) -> None:
        self.open += change
        async with self.changed:
            self.changed.notify_all()

    async def wait_until_open(self, count: int) -> None:
        """Wait until so many answers are under way."""
        async with self.changed:
            await asyncio.wait_for(self.changed.wait_for(lambda: self.open == count), 5)


@asynccontextmanager
async def object_store(room: FakeFilestore) -> AsyncIterator[ObjectStore]:
    """Serve for the time of a block; the room's links lead here."""
    store = ObjectStore(room)
    app = web.Application()
    app.router.add_get("/{path:.+}", store.handle)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        room.store_url = f"http://{host}:{port}"
        yield store
    finally:
        await runner.cleanup()
