"""The receiving end of callbacks: signatures are verified (Standard Webhooks) before a word is believed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import orjson
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from yivideo_client.errors import ClientError

MAX_BODY_BYTES = 16 * 1024 * 1024
MAX_KEPT = 1000
"""Bodies that wait to be taken; while so many do, senders are told to come back."""
_READ_SECONDS = 30.0


class BadSecret(ClientError):
    """The secret is not of the form `whsec_<base64>`."""


class CallbackReceiver:
    """Listens on loopback, for development and tests; `next` gives verified bodies in the order of their arrival.

    A body whose signature is wrong, too old or missing is answered with 401 and counted in `refused`. The same callback may
    come again, as a sender that hears no answer repeats it: its `webhook-id` is the same, and it is given once.
    """

    def __init__(self, secret: str, on_refused: Callable[[str], None] | None = None) -> None:
        """`on_refused` is told, in a thread of the server, why a request was not believed. Raises BadSecret."""
        self._on_refused = on_refused
        try:
            if not secret.startswith("whsec_"):
                raise ValueError
            self._webhook = Webhook(secret)
        except Exception as error:
            raise BadSecret("the callback secret is not whsec_ and base64") from error
        self._bodies: asyncio.Queue[dict[str, Any]] = asyncio.Queue(MAX_KEPT)
        self._seen: dict[str, None] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self.refused = 0
        """Requests that were not believed."""

    @asynccontextmanager
    async def listening(self, port: int = 0) -> AsyncIterator[str]:
        """Receive for the time of the block; gives `host:port`. Raises OSError for a port that is taken."""
        self._loop = asyncio.get_running_loop()
        try:
            server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        except OSError as error:
            error.filename = f"127.0.0.1:{port}"
            raise
        thread = threading.Thread(target=server.serve_forever, name="callback-receiver", daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            await asyncio.to_thread(server.shutdown)
            server.server_close()
            thread.join()

    async def next(self) -> dict[str, Any]:
        """Return the next body."""
        return await self._bodies.get()

    def _take(self, identity: str, body: dict[str, Any]) -> bool:
        """Keep a body unless it came before; tells whether there was room. In the event loop."""
        if identity in self._seen:
            return True
        try:
            self._bodies.put_nowait(body)
        except asyncio.QueueFull:
            return False
        self._seen[identity] = None
        if len(self._seen) > 10 * MAX_KEPT:
            del self._seen[next(iter(self._seen))]
        return True

    async def _taken(self, identity: str, body: dict[str, Any]) -> bool:
        return self._take(identity, body)

    def answer(self, raw: bytes, headers: dict[str, str]) -> int:
        """Judge one request; returns the HTTP status of its answer. Called in a thread of the server."""
        try:
            self._webhook.verify(raw, headers)
            body = orjson.loads(raw)
        except (WebhookVerificationError, ValueError) as error:
            self.refused += 1
            if self._on_refused:
                self._on_refused(str(error) or "the signature cannot be read")
            return 401
        if self._loop is None or not isinstance(body, dict):
            return 400
        identity = next((value for name, value in headers.items() if name.lower() == "webhook-id"), "")
        taken = asyncio.run_coroutine_threadsafe(self._taken(identity, body), self._loop)
        return 204 if taken.result(_READ_SECONDS) else 503

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            timeout = _READ_SECONDS

            def do_POST(self) -> None:
                length = self.headers.get("Content-Length", "")
                if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
                    self._end(413)
                    return
                self._end(receiver.answer(self.rfile.read(int(length)), dict(self.headers)))

            def _end(self, status: int) -> None:
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
                """Say nothing: who receives decides what to say."""

        return Handler
