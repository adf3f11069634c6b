"""Reports of unexpected errors: what a real server gets, what it does not get, and what a dead one costs."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.conftest import ROOT

PRIVATE = "eve-private"


class Server:
    """A Sentry server as its clients see it: takes envelopes."""

    def __init__(self) -> None:
        self.envelopes: list[bytes] = []
        self.auth = ""
        self.dsn = ""

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.envelopes.append(gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body)
        self.auth = request.headers["X-Sentry-Auth"]
        return web.json_response({"id": "0" * 32})

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(envelope.split(b"\n")[2]) for envelope in self.envelopes]


@asynccontextmanager
async def sentry() -> AsyncIterator[Server]:
    server = Server()
    app = web.Application()
    app.router.add_post("/api/7/envelope/", server.take)
    async with TestServer(app) as running:
        server.dsn = f"http://key@127.0.0.1:{running.port}/7"
        yield server


async def logs(what: str, dsn: str) -> tuple[int, str]:
    """Run a process that logs; gives its exit code and its log."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.runtime.reporting_process", what, cwd=ROOT, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "YIVIDEO_RUNTIME__SENTRY_DSN": dsn, "YIVIDEO_RUNTIME__METRICS_LISTEN": ""},
    )  # fmt: skip
    _, log = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode is not None
    return process.returncode, log.decode()


async def test_an_unexpected_error_is_reported_without_what_it_worked_on() -> None:
    """Type, stack and ids; no text of the exception, no argument, no local variable, no field of the line but the known ones."""
    async with sentry() as server:
        code, log = await logs("fault", server.dsn)
    assert (code, PRIVATE in log) == (0, True)
    (event,) = server.events()
    assert event["tags"] == {
        "process": "served", "logger": "room", "task_id": "task-1", "request_id": "request-1", "trace_id": "ab" * 16,
        "method": "GetTask",
    }  # fmt: skip
    assert event["contexts"]["trace"]["trace_id"] == "ab" * 16
    assert (event["logentry"]["message"], event["level"]) == ("call failed", "error")
    (value,) = event["exception"]["values"]
    assert (value["type"], value["value"]) == ("KeyError", "")
    assert value["stacktrace"]["frames"][-1]["function"] == "broken"
    assert PRIVATE not in server.envelopes[0].decode()
    assert "sentry_key=key" in server.auth


@pytest.mark.parametrize(("what", "reported"), [("harmless", 0), ("library", 1), ("die", 1)])
async def test_what_is_reported(what: str, reported: int) -> None:
    """A warning or an error without an exception is none; another library's error is one, without its text, and a death."""
    async with sentry() as server:
        code, log = await logs(what, server.dsn)
    assert code == (what == "die"), log
    events = server.events()
    assert len(events) == reported, log
    for event in events:
        assert event["tags"]["logger"] == {"library": "asyncio", "die": "runtime.process"}[what]
        assert event["level"] == ("fatal" if what == "die" else "error")
    assert PRIVATE not in b"".join(server.envelopes).decode()


async def test_a_dead_server_costs_nothing(free_port: Callable[[], int]) -> None:
    """Errors are logged as ever, and the process ends in time."""
    began = time.monotonic()
    code, log = await logs("many", f"http://key@127.0.0.1:{free_port()}/7")
    assert (code, log.count("call failed")) == (0, 300)
    assert time.monotonic() - began < 15


async def test_what_is_no_dsn_is_told_without_quoting_it() -> None:
    """The process ends with the setting's name."""
    code, log = await logs("fault", "https://secret-word")
    assert (code, "sentry_dsn" in log, "secret-word" in log) == (1, True, False)
