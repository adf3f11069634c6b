"""FastAPI over Celery and Redis. `REDIS_URL` names the Redis. Three ways to a result:

`POST /tasks` and `GET /tasks/{id}`, which the client polls; `POST /tasks/get`, which waits with `AsyncResult.get`. Both are
written as Celery and FastAPI document it: what blocks is a `def`, and runs in a thread.
`POST /tasks/wait` is what no page documents, and faster than both: it enqueues in the event loop, half a millisecond long, and
hears every result over one subscription of its own, since the backend publishes each on the channel that its key names.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

from celery import Celery
from celery.result import AsyncResult
from fastapi import FastAPI
from redis.asyncio import Redis

URL = os.environ["REDIS_URL"]
PREFIX = b"celery-task-meta-"

celery = Celery("peer", broker=URL, backend=URL)
celery.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_serializer="json",
    result_serializer="json",
    accept_content=["json"],
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
)


@celery.task(name="noop")
def noop() -> dict[str, int]:
    """Do nothing."""
    return {"started_us": time.time_ns() // 1000}


class Ends:
    """Everybody who waits for a result, over one subscription."""

    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.Future[Any]] = {}

    def expect(self, task_id: str) -> asyncio.Future[Any]:
        """Return what will be set when the task has ended."""
        return self._waiting.setdefault(task_id, asyncio.get_running_loop().create_future())

    async def listen(self) -> None:
        """Hear every result for ever."""
        async with Redis.from_url(URL) as redis, redis.pubsub() as pubsub:
            await pubsub.psubscribe(PREFIX + b"*")
            async for message in pubsub.listen():
                if message["type"] == "pmessage":
                    task_id = message["channel"].removeprefix(PREFIX).decode()
                    waiting = self._waiting.pop(task_id, None)
                    if waiting is not None:
                        waiting.set_result(json.loads(message["data"])["result"])


ends = Ends()


@contextlib.asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Listen while the app serves."""
    listening = asyncio.create_task(ends.listen())
    yield
    listening.cancel()


app = FastAPI(lifespan=lifespan)


@app.post("/tasks", status_code=202)
def submit() -> dict[str, str]:
    """Accept a task."""
    return {"id": noop.apply_async().id}


@app.get("/tasks/{task_id}")
def show(task_id: str) -> dict[str, Any]:
    """Show where a task is."""
    result = AsyncResult(task_id, app=celery)
    meta = result.backend.get_task_meta(task_id)
    return {"status": meta["status"], "result": meta["result"]}


@app.post("/tasks/get")
def get() -> dict[str, Any]:
    """Accept a task and answer with its result, which the backend tells by pub/sub."""
    result = noop.apply_async()
    accepted_us = time.time_ns() // 1000
    return {"result": result.get(timeout=60), "accepted_us": accepted_us}


@app.post("/tasks/wait")
async def wait() -> dict[str, Any]:
    """Accept a task and answer with its result, heard over the one subscription of this process."""
    task_id = str(uuid.uuid4())
    end = ends.expect(task_id)
    noop.apply_async(task_id=task_id)
    accepted_us = time.time_ns() // 1000
    return {"result": await end, "accepted_us": accepted_us}
