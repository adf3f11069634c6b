"""A watched task over connections that break anywhere: each event once, in order."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

import orjson
import pytest
from aiohttp import web

from tests.client.conftest import QUICK, ScriptedServer, broken_off
from yivideo_client import AsyncClient, ConnectionFailed, Event, TaskCancelled, TaskFailed, WaitTimeout


def written(sequence: int, name: str, **data: object) -> bytes:
    """One event as the gateway writes it."""
    return f"id: {sequence}\nevent: {name}\ndata: ".encode() + orjson.dumps(data) + b"\n\n"


EVENTS = [
    written(1, "accepted"),
    *(written(n, "progress", percent=n, message="ü" * n) for n in range(2, 30)),
    written(30, "completed", status="completed"),
]


@pytest.mark.parametrize("seed", range(5))
async def test_no_event_is_missed_or_repeated(server: ScriptedServer, client: AsyncClient, seed: int) -> None:
    """Streams that end in the middle of a byte, a line or an event are taken up behind the last whole event."""
    chance = random.Random(seed)

    async def answer(request: web.Request) -> web.StreamResponse:
        after = int(request.headers.get("Last-Event-ID", 0))
        content = b"retry: 2000\n\n: ping\n\n" + b"".join(EVENTS[after:])
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        cut = chance.randrange(len(EVENTS[after]) + 30, 800)  # at least one whole event, so that it goes on
        position = 0
        while position < min(cut, len(content)):
            step = chance.randrange(1, 60)
            await response.write(content[position : min(cut, position + step)])
            position += step
        if cut < len(content):
            return broken_off(request)
        await response.write_eof()
        return response

    server.handler = answer
    events = [event async for event in client.tasks.watch("t")]
    assert [event.sequence for event in events] == list(range(1, 31))
    assert events[-1].name == "completed" and events[5].progress is not None
    assert events[5].progress.message == "ü" * 6
    assert len(server.seen) > 1


async def test_a_stream_that_never_comes_back(server: ScriptedServer, client: AsyncClient) -> None:
    """A server that only breaks is given up as a connection that failed, not waited for without an end."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return broken_off(request)

    server.handler = answer
    with pytest.raises(ConnectionFailed):
        [event async for event in client.tasks.watch("t")]


async def test_a_server_that_was_there_is_waited_for(server: ScriptedServer) -> None:
    """A gateway that restarts midway is waited for longer than one that never answered, and that is told once."""
    away, told = 0, list[str]()

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal away
        after = int(request.headers.get("Last-Event-ID", 0))
        if after and away < 3 * QUICK.attempts:
            away += 1
            return broken_off(request)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"".join(EVENTS[after:] if after else EVENTS[:3]))
        return response

    server.handler = answer
    async with AsyncClient(server.url, backoff=QUICK, on_trouble=told.append) as client:
        events = [event.sequence async for event in client.tasks.watch("t")]
    assert events == list(range(1, 31)) and away == 3 * QUICK.attempts
    assert len(told) == 1 and told[0].startswith(f"{server.url} cannot be reached")


@pytest.mark.parametrize("snapshot", [{"last_sequence": 8}, {}])
async def test_a_position_that_was_never_reached(
    server: ScriptedServer, client: AsyncClient, snapshot: dict[str, int]
) -> None:
    """Asked behind an event that there is not, a server tells a gap and ends; that is told on, and not asked for without an end."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.headers["Last-Event-ID"] == "8":
            return web.Response(status=204)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"event: gap\ndata: " + orjson.dumps({"snapshot": snapshot}) + b"\n\n")
        return response

    server.handler = answer
    seen = []
    with suppress(ConnectionFailed):
        async for event in client.workflows.watch("w", 999):
            seen.append(event.name)
    assert set(seen) == {"gap"} and len(seen) == (1 if snapshot else QUICK.attempts)


async def test_many_streams_keep_no_call_waiting(server: ScriptedServer, client: AsyncClient) -> None:
    """A program that watches a hundred tasks can still ask for something; what is held has a connection of its own."""
    over, open_streams = asyncio.Event(), 0

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal open_streams
        if not request.path.endswith("/events"):
            return web.json_response({"task_id": "t", "status": "running"})
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        open_streams += 1
        await over.wait()
        await response.write(written(1, "completed"))
        return response

    async def watched(number: int) -> int:
        return len([event async for event in client.tasks.watch(f"t{number}")])

    server.handler = answer
    watching = [asyncio.create_task(watched(number)) for number in range(100)]
    async with asyncio.timeout(10):
        while open_streams < 100:
            await client.tasks.get("t")
        over.set()
        assert await asyncio.gather(*watching) == [1] * 100


async def test_a_stream_that_has_no_end_goes_on(server: ScriptedServer, client: AsyncClient) -> None:
    """Other streams than a task's, whose positions are no numbers, are taken up behind the last event, too."""

    async def answer(request: web.Request) -> web.StreamResponse:
        after = int(request.headers.get("Last-Event-ID", "0-0").partition("-")[0])
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(f'id: {after + 1}-0\nevent: granted\ndata: {{"n": {after + 1}}}\n\n'.encode())
        return broken_off(request) if after % 2 else response

    server.handler = answer
    stream = client.stream("/v1/monitoring/gpu-lock/events")
    assert [(await anext(stream)).data["n"] for _ in range(5)] == [1, 2, 3, 4, 5]
    await stream.aclose()  # type: ignore[attr-defined]


async def test_an_event_without_end_is_refused(
    server: ScriptedServer, client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What never ends its line is not gathered in memory without a bound."""
    monkeypatch.setattr("yivideo_client.event_stream.MAX_EVENT_BYTES", 10_000)

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(100):
            await response.write(b"data: " + b"x" * 1000)
        return response

    server.handler = answer
    with pytest.raises(ConnectionFailed, match="more than 10000 bytes"):
        [event async for event in client.tasks.watch("t")]


def ended(status: str) -> web.Response:
    """The answer about a task that has ended."""
    result = {
        "task_name": "a.b",
        "output": {"n": 1} if status == "completed" else None,
        "error_detail": {"code": "NO_AUDIO", "message": "silent", "field": "/x", "retryable": False},
    }
    return web.json_response(
        {"task_id": "t", "status": status, "state": status, "result": result, "minio_files": []}
    )


async def test_how_a_task_ends(server: ScriptedServer, client: AsyncClient) -> None:
    """A completed task is returned with its output; the other two ends are errors that say what happened."""
    status = "completed"

    async def answer(request: web.Request) -> web.StreamResponse:
        return ended(status)

    server.handler = answer
    assert (await client.finish("t")).output == {"n": 1}
    status = "failed"
    with pytest.raises(TaskFailed, match="t failed: NO_AUDIO: silent") as failed:
        await client.finish("t")
    assert (failed.value.code, failed.value.field) == ("NO_AUDIO", "/x")
    status = "cancelled"
    with pytest.raises(TaskCancelled):
        await client.finish("t")


async def test_a_wait_ends_in_time(server: ScriptedServer, client: AsyncClient) -> None:
    """Waiting stops when the caller's time is over, and says that the task goes on by not cancelling it."""

    async def answer(request: web.Request) -> web.StreamResponse:
        assert request.headers["Prefer"] == "wait=1"
        return web.json_response(
            {"task_id": "t", "status": "running", "state": "running", "message": "at work"}
        )

    server.handler = answer
    with pytest.raises(WaitTimeout, match="at work"):
        await client.tasks.wait("t", 0.0)
    assert {request.method for request in server.seen} == {"GET"}


def test_events_know_their_kind() -> None:
    """Only the three ends are terminal."""
    names = ["accepted", "progress", "gap", "completed", "failed", "cancelled"]
    assert [name for name in names if Event(name, 1, {}).terminal] == ["completed", "failed", "cancelled"]
