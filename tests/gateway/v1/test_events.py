"""/v1/tasks/{id}/events: order, ids, resume, gap, end, 204, ping, drain, limits."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from gateway.http import sse
from gateway.v1 import task_events
from runtime import errors
from tests.gateway.conftest import Harness, StartHarness
from yivideo.task.v1 import task_pb2 as pb


@dataclass
class Event:
    """One event as a client reads it."""

    name: str = ""
    id: str | None = None
    data: dict[str, Any] = field(default_factory=dict)
    comment: str = ""
    retry: int | None = None


async def read_events(response: aiohttp.ClientResponse) -> AsyncIterator[Event]:
    """Parse a stream as the WHATWG standard says, comments and retry hints shown too."""
    block: list[str] = []
    async for raw in response.content:
        line = raw.decode().rstrip("\n")
        if line:
            block.append(line)
            continue
        made = Event()
        for text in block:
            name, _, value = text.partition(": ")
            match name:
                case "":
                    made.comment = value
                case "id":
                    made.id = value
                case "event":
                    made.name = value
                case "data":
                    made.data = json.loads(value)
                case "retry":
                    made.retry = int(value)
        block = []
        yield made


async def run_through(harness: Harness, task_id: str) -> None:
    """Let a task run from its start to its good end."""
    happen = harness.scheduler.happen
    await happen(task_id, pb.TASK_STATE_RUNNING, started=pb.TaskStarted(node="ffmpeg", replica="r1"))
    await happen(task_id, waiting_for_gpu=pb.WaitingForGpu(position=2, memory_mib=100))
    await harness.scheduler.beat(task_id)
    await happen(task_id, progress=pb.Progress(percent=50, stage="decode", message="half"))
    await happen(task_id, log=pb.TaskLog(level="info", message="line\nbreak"))
    await happen(task_id, checkpoint=pb.Checkpoint())
    retrying = pb.TaskRetrying(error=pb.TaskError(code="X", message="again"))
    await happen(task_id, retrying=retrying)
    await harness.scheduler.complete(task_id)


async def collect(harness: Harness, path: str, **headers: str) -> list[Event]:
    """Read a stream to its end."""
    async with harness.http.get(path, headers=headers) as response:
        assert response.status == 200, await response.text()
        assert response.headers["Content-Type"].startswith("text/event-stream")
        assert response.headers["X-Accel-Buffering"] == "no"
        return [event async for event in read_events(response)]


async def test_a_stream_tells_the_whole_story_and_ends(harness: Harness) -> None:
    """All events in order with id = sequence; unstored ones have none; checkpoints stay inside; the end closes the stream."""
    await harness.submit("t1")
    reading = asyncio.create_task(collect(harness, "/v1/tasks/t1/events"))
    await harness.scheduler.wait_watchers(1)
    await run_through(harness, "t1")
    first, *events = await asyncio.wait_for(reading, 5)
    assert first.retry == sse.RETRY_MILLISECONDS
    assert [(event.name, event.id) for event in events] == [
        ("accepted", "1"), ("started", "2"), ("waiting_for_gpu", "3"), ("heartbeat", None), ("progress", "4"),
        ("log", "5"), ("retrying", "7"), ("completed", "8"),
    ]  # fmt: skip
    by_name = {event.name: event.data for event in events}
    assert by_name["progress"]["percent"] == 50 and by_name["progress"]["task_id"] == "t1"
    assert by_name["log"]["message"] == "line\nbreak"
    assert by_name["retrying"]["error_detail"]["code"] == "X"
    done = by_name["completed"]
    assert (done["status"], done["output"]["sample_rate"], done["duration"]) == ("completed", 16000, 2.6)
    assert done["minio_files"][0]["name"] == "töne.wav"
    await harness.scheduler.wait_watchers(0)


async def test_every_event_of_the_contract_has_a_view_or_is_internal() -> None:
    """A new event in the proto cannot be forgotten here."""
    names = {field.name for field in pb.TaskEvent.DESCRIPTOR.oneofs_by_name["event"].fields}
    assert names == set(task_events.VIEWS) | {"checkpoint", "handed_back"}


@pytest.mark.parametrize(("query", "header"), [("?after=4", None), ("", "4"), ("?after=1", "4")])
async def test_a_stream_resumes_behind_the_last_event(
    harness: Harness, query: str, header: str | None
) -> None:
    """?after= and Last-Event-ID go on behind a sequence; the header, which is newer, goes before the query."""
    await harness.submit("t1")
    await run_through(harness, "t1")
    headers = {"Last-Event-ID": header} if header else {}
    events = await collect(harness, f"/v1/tasks/t1/events{query}", **headers)
    assert [event.id for event in events if event.id] == ["5", "7", "8"]


async def test_after_the_terminal_event_there_is_204(harness: Harness) -> None:
    """A reconnect that has seen the end is told 204, which stops an EventSource; an earlier position gets the rest."""
    await harness.submit("t1")
    await run_through(harness, "t1")
    for seen, status in (("8", 204), ("9", 204), ("7", 200)):
        async with harness.http.get("/v1/tasks/t1/events", headers={"Last-Event-ID": seen}) as response:
            assert response.status == status


@pytest.mark.parametrize("position", ["-1", "x", "99999999999", "1.5", "²"])
async def test_a_position_that_is_none_is_refused(harness: Harness, position: str) -> None:
    """400 for a Last-Event-ID or ?after= that no event can have."""
    await harness.submit("t1")
    async with harness.http.get("/v1/tasks/t1/events", params={"after": position}) as response:
        assert response.status == 400
    if position.isascii():
        async with harness.http.get("/v1/tasks/t1/events", headers={"Last-Event-ID": position}) as response:
            assert response.status == 400


async def test_lost_events_are_told_as_a_gap_with_a_snapshot(harness: Harness) -> None:
    """Events no longer kept: one gap event without id, with what is missing and the task as it is; then the rest."""
    await harness.submit("t1")
    await run_through(harness, "t1")
    harness.scheduler.trimmed["t1"] = 6
    events = await collect(harness, "/v1/tasks/t1/events?after=2")
    assert [(event.name, event.id) for event in events if event.name != "heartbeat"] == [
        ("", None), ("gap", None), ("retrying", "7"), ("completed", "8"),
    ]  # fmt: skip
    gap = events[1].data
    assert (gap["first_missing_sequence"], gap["last_missing_sequence"]) == (3, 6)
    assert gap["snapshot"]["status"] == "completed"
    assert gap["snapshot"]["result"]["output"]["sample_rate"] == 16000


@pytest.mark.parametrize("end", ["failed", "cancelled"])
async def test_a_bad_end_is_an_end_too(harness: Harness, end: str) -> None:
    """Failed and cancelled end the stream and say why."""
    await harness.submit("t1")
    if end == "failed":
        await harness.scheduler.fail_task("t1")
    else:
        cancelled = pb.TaskCancelled(reason="asked")
        await harness.scheduler.happen("t1", pb.TASK_STATE_CANCELLED, cancelled=cancelled)
    last = (await collect(harness, "/v1/tasks/t1/events"))[-1]
    assert last.name == last.data["status"] == end
    assert last.data["error" if end == "failed" else "reason"] == (
        "MEDIA_UNREADABLE: not a video" if end == "failed" else "asked"
    )


async def test_a_restart_of_the_scheduler_is_not_noticed(harness: Harness) -> None:
    """When the scheduler breaks a watch off, the gateway goes on behind the last sequence: nothing twice, nothing lost."""
    await harness.submit("t1")
    reading = asyncio.create_task(collect(harness, "/v1/tasks/t1/events"))
    await harness.scheduler.wait_watchers(1)
    await harness.scheduler.happen("t1", pb.TASK_STATE_RUNNING, started=pb.TaskStarted(node="ffmpeg"))
    await harness.scheduler.break_watchers()
    await harness.scheduler.wait_watchers(0)
    await harness.scheduler.wait_watchers(1)
    await harness.scheduler.complete("t1")
    events = await asyncio.wait_for(reading, 10)
    assert [event.id for event in events if event.id] == ["1", "2", "3"]
    watches = [r.after_sequence for r in harness.scheduler.requests if isinstance(r, pb.WatchTaskRequest)]
    assert watches in ([0, 2], [0, 1]), "the break may overtake the event before it"


async def test_a_client_that_leaves_leaves_nothing_behind(harness: Harness) -> None:
    """When the client closes, the scheduler's WatchTask is cancelled and the slot is free."""
    await harness.submit("t1")
    async with harness.http.get("/v1/tasks/t1/events") as response:
        await response.content.readline()
        await harness.scheduler.wait_watchers(1)
        response.close()
    await harness.scheduler.wait_watchers(0)


async def test_silence_is_filled_with_comments(start_harness: StartHarness) -> None:
    """An idle stream carries a comment every ping period, so that proxies keep it open."""
    async with start_harness(ping_seconds=0.05) as harness:
        await harness.submit("t1")
        async with harness.http.get("/v1/tasks/t1/events") as response:
            seen = []
            async for event in read_events(response):
                seen.append(event.comment or event.name)
                if seen.count("ping") == 3:
                    break
        assert seen == ["", "accepted", "ping", "ping", "ping"]


async def test_streams_are_bounded(start_harness: StartHarness) -> None:
    """Past max_event_streams: 503 with Retry-After; a place that gets free is given again."""
    async with start_harness(max_event_streams=1) as harness:
        await harness.submit("t1")
        async with harness.http.get("/v1/tasks/t1/events") as response:
            assert response.status == 200
            await harness.scheduler.wait_watchers(1)
            async with harness.http.get("/v1/tasks/t1/events") as refused:
                assert (refused.status, refused.headers["Retry-After"]) == (503, "5")
            response.close()
        await harness.scheduler.wait_watchers(0)
        async with harness.http.get("/v1/tasks/t1/events") as again:
            assert again.status == 200


async def test_a_drain_ends_streams_cleanly(start_harness: StartHarness) -> None:
    """When the gateway stops, open streams end with a whole chunked body, not with a broken connection."""
    async with contextlib.AsyncExitStack() as stack:
        harness = await stack.enter_async_context(start_harness())
        await harness.submit("t1")
        async with aiohttp.ClientSession(f"http://{harness.address}") as session:
            response = await session.get("/v1/tasks/t1/events")
            await harness.scheduler.wait_watchers(1)
            stopping = asyncio.create_task(stack.pop_all().aclose())
            seen = [event.comment async for event in read_events(response)]
            await stopping
    assert seen[-1].startswith("this server is shutting down")


async def test_a_scheduler_that_is_away_is_503(harness: Harness) -> None:
    """Before the stream has begun, an unavailable scheduler is a problem answer with Retry-After."""
    await harness.submit("t1")
    harness.scheduler.fail = errors.Unavailable("Redis at 10.0.0.7:6379 is away")
    async with harness.http.get("/v1/tasks/t1/events") as response:
        assert response.status == 503
        assert response.headers["Retry-After"]
        assert "10.0.0.7" not in await response.text(), "what a peer says about its inside stays inside"


async def page(harness: Harness, after: int, wait: int = 0) -> dict[str, Any]:
    """Ask for one page of events as a client that polls does."""
    headers = {"Accept": "application/json", **({"Prefer": f"wait={wait}"} if wait else {})}
    async with harness.http.get(f"/v1/tasks/t1/events?after={after}", headers=headers) as response:
        assert response.status == 200 and response.content_type == "application/json", await response.text()
        assert response.headers.get("Preference-Applied") == (f"wait={wait}" if wait else None)
        made: dict[str, Any] = await response.json()
        return made


async def test_a_client_that_polls_gets_the_same_events(harness: Harness) -> None:
    """Pages carry what a stream carries as data, each event once; `last_sequence` leads on and `ended` says when to stop."""
    await harness.submit("t1")
    assert (await page(harness, 1))["events"] == [], "without a wish to wait the answer is at once"
    waiting = asyncio.create_task(page(harness, 1, wait=30))
    await harness.scheduler.wait_watchers(1)
    await harness.scheduler.beat("t1")
    await run_through(harness, "t1")
    told = await asyncio.wait_for(waiting, 5)
    seen = list(told["events"])
    while not told["ended"]:
        told = await page(harness, told["last_sequence"], wait=30)
        seen += told["events"]
    assert [event["sequence"] for event in seen] == [2, 3, 4, 5, 7, 8]
    streamed = [event.data for event in await collect(harness, "/v1/tasks/t1/events?after=1") if event.id]
    assert seen == streamed
    assert await page(harness, 8) == {"task_id": "t1", "events": [], "last_sequence": 8, "ended": True}


async def test_a_client_that_polls_is_told_of_gaps(harness: Harness) -> None:
    """Events no longer kept, and a position that never was, are told in a page too, and the position it gives is good."""
    await harness.submit("t1")
    await harness.scheduler.happen("t1", pb.TASK_STATE_RUNNING, started=pb.TaskStarted(node="ffmpeg"))
    lost = await page(harness, 77)
    assert ([e["event"] for e in lost["events"]], lost["last_sequence"], lost["ended"]) == (["gap"], 2, False)
    await run_through(harness, "t1")
    harness.scheduler.trimmed["t1"] = 6
    told = await page(harness, 2)
    assert (told["events"][0]["event"], told["events"][0]["last_missing_sequence"]) == ("gap", 6)


async def test_a_client_that_does_not_read_is_bounded_and_told(harness: Harness) -> None:
    """While a client takes nothing, the gateway keeps a page for it, not its 12 MB; what the scheduler drops comes as a gap."""
    await harness.submit("t1")
    host, _, port = harness.address.partition(":")
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await asyncio.to_thread(slow.connect, (host, int(port)))
        slow.sendall(f"GET /v1/tasks/t1/events HTTP/1.1\r\nHost: {harness.address}\r\n\r\n".encode())
        await harness.scheduler.wait_watchers(1)
        for _ in range(4000):
            await harness.scheduler.happen("t1", log=pb.TaskLog(message="x" * 3000))
        harness.scheduler.trimmed["t1"] = 3900
        await harness.scheduler.complete("t1")
        await harness.scheduler.wait_watchers(0)
        events = [event async for event in read_events(await everything(slow))]
    ids = [int(event.id) for event in events if event.id]
    gap = next(event.data for event in events if event.name == "gap")
    kept = gap["first_missing_sequence"] - 1
    assert ids == [*range(1, kept + 1), *range(3901, 4003)]
    assert gap["last_missing_sequence"] == 3900 and events[-1].name == "completed"


async def everything(connection: socket.socket) -> Any:
    """Read the rest of a chunked answer; gives what `read_events` can parse."""
    reader, writer = await asyncio.open_connection(sock=connection.dup())
    await reader.readuntil(b"\r\n\r\n")
    body = b""
    async with asyncio.timeout(20):
        while size := int(await reader.readline(), 16):
            body += (await reader.readexactly(size + 2))[:-2]
    writer.close()
    lines = asyncio.StreamReader(limit=2**20)
    lines.feed_data(body)
    lines.feed_eof()
    return type("Answer", (), {"content": lines})()
