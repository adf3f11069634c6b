"""Callback receivers of every temper: one answers, one answers late, one refuses at first, one is away at times."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from aiohttp import web
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from bench.chaos.installation import quiet_address

TEMPERS = ("steady", "slow", "moody", "absent")
_SLOW_SECONDS = 1.5
_MOODS = (500, 503)


@dataclass(frozen=True)
class Delivery:
    """One callback as it arrived."""

    temper: str
    webhook_id: str
    task_id: str
    status: str
    digest: str
    """SHA-256 of the body."""
    signed: bool
    answer: int
    time: float


class Receivers:
    """All receivers; `async with receivers.listening()`."""

    def __init__(self) -> None:
        self.addresses = {temper: quiet_address() for temper in TEMPERS}
        self.deliveries: list[Delivery] = []
        self.webhook: Webhook | None = None
        self._seen: Counter[str] = Counter()
        self._present: AsyncExitStack | None = None

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Receive for the time of the block."""
        async with AsyncExitStack() as stack:
            for temper in TEMPERS[:3]:
                await stack.enter_async_context(self._site(temper))
            self._present = await stack.enter_async_context(AsyncExitStack())
            await self._present.enter_async_context(self._site("absent"))
            yield

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        """Have nobody listen at `absent` for the time of the block. Two such times do not overlap usefully: the first ends both."""
        assert self._present is not None
        await self._present.aclose()
        try:
            yield
        finally:
            await self._present.aclose()
            await self._present.enter_async_context(self._site("absent"))

    @asynccontextmanager
    async def _site(self, temper: str) -> AsyncIterator[None]:
        app = web.Application()

        async def receive(request: web.Request) -> web.Response:
            return await self._receive(request, temper)

        app.router.add_post("/", receive)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        host, _, port = self.addresses[temper].rpartition(":")
        try:
            await web.TCPSite(runner, host, int(port), reuse_address=True).start()
            yield
        finally:
            await runner.cleanup()

    async def _receive(self, request: web.Request, temper: str) -> web.Response:
        raw = await request.read()
        body = json.loads(raw)
        name = request.headers.get("webhook-id", "")
        signed = True
        try:
            assert self.webhook is not None
            self.webhook.verify(raw, dict(request.headers))
        except WebhookVerificationError:
            signed = False
        answer = 204
        if temper == "slow":
            await asyncio.sleep(_SLOW_SECONDS)
        elif temper == "moody" and self._seen[name] < len(_MOODS):
            answer = _MOODS[self._seen[name]]
        self._seen[name] += 1
        digest = hashlib.sha256(raw).hexdigest()
        self.deliveries.append(
            Delivery(temper, name, body["task_id"], body["status"], digest, signed, answer, time.monotonic())
        )
        return web.Response(status=answer)
