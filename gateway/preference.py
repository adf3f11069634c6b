"""`Prefer: wait=N` (RFC 7240): a client asks to be answered when the task has ended, or after N seconds."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress

from aiohttp import web

from gateway.app_keys import BACKEND, SETTINGS, SLOTS, WATCHES
from gateway.shared_watch import StreamsClosing
from gateway.submission import to_submit
from runtime.errors import Unavailable, YiVideoError
from yivideo.task.v1 import task_pb2

APPLIED_HEADER = "Preference-Applied"

_WAIT = re.compile(r'\s*wait\s*=\s*"?(\d{1,9})"?\s*', re.IGNORECASE)


def wished_wait_seconds(request: web.Request) -> int:
    """Return how long the client wants to wait, at most `max_wait_seconds`; 0 when it does not say, or says nonsense."""
    for line in request.headers.getall("Prefer", ()):
        for preference in line.split(","):
            if found := _WAIT.fullmatch(preference.partition(";")[0]):
                return min(int(found[1]), request.app[SETTINGS].max_wait_seconds)
    return 0


async def submit_and_wait(
    request: web.Request, spec: task_pb2.TaskSpec, seconds: int, asked: float
) -> task_pb2.Task | None:
    """Submit a task and wait for its end in one call, which ends when the client leaves; what had arrived stays stored.

    Gives the task as it is when it has ended or `seconds` have passed, sooner when the scheduler goes away in good order. None
    when nobody knows whether it was stored, because this process drains or the scheduler was lost: submit it again.
    """
    wanted = to_submit(spec, asked, seconds)
    with request.app[SLOTS].take():
        try:
            return await request.app[BACKEND].submitter.submit_and_wait(wanted)
        except Unavailable:
            return None


async def wait_for_end(request: web.Request, task_id: str, after_sequence: int, seconds: int) -> bool:
    """Wait until the task has ended, `seconds` have passed, or this process drains.

    Returns False, at once, when the wish is not granted because every stream slot is taken.
    """
    slots = request.app[SLOTS]
    if seconds <= 0 or slots.full:
        return False
    with (
        slots.take(),
        request.app[WATCHES].reading(task_id, after_sequence, after_sequence) as reader,
        # Of an error the answer is read from the task's record next, which says what is wrong.
        suppress(TimeoutError, StreamsClosing, YiVideoError),
    ):
        async with asyncio.timeout(seconds):
            while await reader.next() is not None:
                pass
    return True
