"""A language model's server as strangers know it: it speaks the OpenAI chat form over real HTTP, and does what models and
servers do.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from language_models.settings import LlmSection, ProviderSection

Answer = Callable[[dict[str, Any]], str]
"""Makes an answer's text of a request's body."""


def echo(body: dict[str, Any]) -> str:
    """Say what was asked."""
    return str(body["messages"][-1]["content"])


@dataclass
class ModelServer:
    """One server. `trouble` is used up one entry a request; then answers are sound in form."""

    answer: Answer = echo
    trouble: list[str] = field(default_factory=list)
    always: str = ""
    """Trouble of every request."""
    retry_after: str = ""
    pieces: int = 4
    usage: bool = True
    requests: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    open_requests: int = 0
    cut: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a client leaves in the middle of an answer."""
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    base: str = ""

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.requests.append(body)
        self.keys.append(request.headers.get("Authorization", ""))
        self.open_requests += 1
        self.begun.set()
        try:
            return await self._answer(request, body, self.trouble.pop(0) if self.trouble else self.always)
        except (asyncio.CancelledError, ConnectionError):  # the second where it finds out by writing
            self.cut.set()
            raise
        finally:
            self.open_requests -= 1

    async def _answer(self, request: web.Request, body: dict[str, Any], trouble: str) -> web.StreamResponse:
        if trouble.isdecimal():
            headers = {"Retry-After": self.retry_after} if self.retry_after else {}
            error = {"error": {"message": f"trouble {trouble}, key {self.keys[-1]}", "type": "x"}}
            return web.json_response(error, status=int(trouble), headers=headers)
        if trouble == "redirect":
            raise web.HTTPTemporaryRedirect("http://169.254.169.254/latest/")
        if trouble == "hang":
            await asyncio.sleep(3600)
        if trouble == "not_json":
            return web.Response(text="<html>busy</html>", content_type="application/json")
        if trouble == "error_inside":
            return web.json_response({"error": {"message": "overloaded"}})
        text = self.answer(body)
        if not body.get("stream"):
            return web.json_response(self._whole(text))
        return await self._stream(request, text, trouble)

    def _whole(self, text: str) -> dict[str, Any]:
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        return {"model": "stub-1", "choices": [choice], **self._usage(text)}

    def _usage(self, text: str) -> dict[str, Any]:
        return {"usage": {"prompt_tokens": 10, "completion_tokens": len(text)}} if self.usage else {}

    async def _stream(self, request: web.Request, text: str, trouble: str) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)

        async def send(document: Any) -> None:
            data = document if isinstance(document, str) else json.dumps(document, ensure_ascii=False)
            await response.write(f": comment\ndata: {data}\n\n".encode())

        if trouble == "gigabyte":
            while True:  # until the client leaves
                await send({"choices": [{"delta": {"content": "x" * 60_000}}]})
        if trouble == "endless_line":
            while True:
                await response.write(b"data: " + b"x" * 60_000)
        size = max(1, -(-len(text) // self.pieces))
        parts = [text[start : start + size] for start in range(0, len(text), size)]
        for number, part in enumerate(parts):
            if trouble == "half" and number * 2 >= len(parts):
                break
            if trouble == "stall" and number:
                await asyncio.sleep(3600)
            if trouble == "close" and number:
                assert request.transport is not None
                request.transport.abort()
                return response
            await send(
                {
                    "model": "stub-1",
                    "choices": [{"index": 0, "delta": {"content": part}, "finish_reason": None}],
                }
            )
        if trouble == "half":
            # It believes that it is done: the JSON ends in the middle.
            await send({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
            await send("[DONE]")
            return response
        if trouble == "unfinished":
            return response
        reason = "length" if trouble == "length" else "stop"
        await send({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}], "usage": None})
        await send({"choices": [], **self._usage(text)})
        await send("[DONE]")
        return response

    def section(self, folder: Path, **fields: Any) -> LlmSection:
        """Return settings under which this is the only provider."""
        own = {
            "api_base_url": self.base,
            "model": "stub",
            "api_key_file": self.key_file(folder),
            "price_input": 1.0,
            "price_output": 2.0,
            **fields.pop("provider", {}),
        }
        return LlmSection(
            openai_compatible=ProviderSection(**own),
            **{"requests_per_minute": 0, "max_attempts": 3, **fields},
        )

    def key_file(self, folder: Path) -> Path:
        """Return a file with a key."""
        path = folder / "key"
        path.write_text("sk-secret\n")
        return path


@asynccontextmanager
async def serving(**fields: Any) -> AsyncIterator[ModelServer]:
    """Have a server for the time of a block."""
    made = ModelServer(**fields)
    app = web.Application()
    app.router.add_post("/v1/chat/completions", made.chat)
    server = TestServer(app, host="127.0.0.1")
    await server.start_server()  # it cancels the handler of a client that leaves
    made.base = f"http://127.0.0.1:{server.port}/v1"
    try:
        yield made
    finally:
        await server.close()


async def no_pause(seconds: float) -> None:
    """Sleep without sleeping."""
    await asyncio.sleep(0)


Pause = Callable[[float], Awaitable[None]]
