"""A callback receiver as a client would write one: it verifies the signature before it believes a word."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

_MAX_BODY_BYTES = 1024 * 1024


class CallbackReceiver:
    """Listens on loopback; `wait_for` gives the verified body of a task's callback."""

    def __init__(self, secret: str) -> None:
        self._webhook = Webhook(secret)
        self._loop = asyncio.get_running_loop()
        self._bodies: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.refused = 0
        """Requests whose signature was wrong."""

    @property
    def address(self) -> str:
        """`host:port`, for the stack's allow-list."""
        return f"127.0.0.1:{self._server.server_port}"

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Receive for the time of the block."""
        thread = threading.Thread(target=self._server.serve_forever, name="callback-receiver")
        thread.start()
        try:
            yield
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    async def wait_for(self, task_id: str, seconds: float) -> dict[str, Any]:
        """Wait for the callback of one task. Raises TimeoutError."""
        return await asyncio.wait_for(asyncio.shield(self._future(task_id)), seconds)

    def _future(self, task_id: str) -> asyncio.Future[dict[str, Any]]:
        return self._bodies.setdefault(task_id, self._loop.create_future())

    def _accept(self, body: dict[str, Any]) -> None:
        future = self._future(body["task_id"])
        if not future.done():  # the same callback may arrive again; receivers must not mind
            future.set_result(body)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = min(int(self.headers.get("Content-Length", 0)), _MAX_BODY_BYTES)
                raw = self.rfile.read(length)
                try:
                    receiver._webhook.verify(raw, dict(self.headers))
                except WebhookVerificationError:
                    receiver.refused += 1
                    self.send_response(401)
                else:
                    receiver._loop.call_soon_threadsafe(receiver._accept, json.loads(raw))
                    self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
                """Say nothing: the demo prints what matters."""

        return Handler
