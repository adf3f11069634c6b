"""A resumable event stream, read across as many connections as it takes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from yivideo_client.event_stream import read_events
from yivideo_client.models import Event
from yivideo_client.transport import Transport
from yivideo_client.tries import FAULTS


async def watched(
    transport: Transport, path: str, after: int, is_last: Callable[[Event], bool], *, may_go_on: bool = False
) -> AsyncIterator[Event]:
    """Yield a stream's events behind a position, to the last one.

    With `may_go_on` more may stand behind what looks like the last one; then the server is asked until it says that nothing does.
    A broken stream is taken up behind the last event: none is missed and none comes twice. Raises ApiError, and
    ConnectionFailed when the server stays away for as long as requests are repeated.
    """
    tries = transport.tries()
    while True:
        seems_over = False
        try:
            headers = {"Accept": "text/event-stream", **({"Last-Event-ID": str(after)} if after else {})}
            async with transport.request("GET", path, headers=headers) as response:
                if response.status == 204:
                    return
                async for event in read_events(response.content):
                    before, after = after, _position(event, after)
                    if after != before or event.name == "heartbeat":
                        tries.progressed()
                    if event.name == "heartbeat":
                        continue
                    yield event
                    seems_over = is_last(event)
                    if seems_over and not may_go_on:
                        return
            if seems_over:
                continue
            fault: Exception = ConnectionResetError("the event stream ended")
        except FAULTS as raised:
            fault = raised
        await tries.after(fault)


def _position(event: Event, after: int) -> int:
    """Return where a stream goes on behind an event. A `gap` may say that there is less than was asked behind."""
    if event.name == "gap" and isinstance(snapshot := event.data.get("snapshot"), dict):
        last = snapshot.get("last_sequence")
        return min(after, last) if isinstance(last, int) else after
    return event.sequence or after
