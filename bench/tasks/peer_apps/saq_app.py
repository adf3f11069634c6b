"""FastAPI over SAQ and Redis. `REDIS_URL` names the Redis. `Job.refresh` waits by pub/sub."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI, HTTPException
from saq import Queue

LOOK_AGAIN_SECONDS = 0.05

queue = Queue.from_url(os.environ["REDIS_URL"])


async def noop(context: dict[str, Any]) -> dict[str, int]:
    """Do nothing."""
    return {"started_us": time.time_ns() // 1000}


settings = {"queue": queue, "functions": [noop], "concurrency": 64}


@contextlib.asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Be connected while the app serves."""
    await queue.connect()
    yield
    await queue.disconnect()


app = FastAPI(lifespan=lifespan)


@app.post("/tasks/wait")
async def run() -> dict[str, Any]:
    """Accept a task and answer with its result."""
    job = await queue.enqueue("noop", timeout=60)
    accepted_us = time.time_ns() // 1000
    assert job is not None
    while not job.completed:
        # The end may come between SAQ's look at the job and its subscription, which then never tells: look again.
        with contextlib.suppress(TimeoutError):
            await job.refresh(LOOK_AGAIN_SECONDS)
    if job.result is None:  # seen now and then just after the worker's start
        raise HTTPException(500, f"the job is {job.status}: {job.error}")
    return {"result": job.result, "accepted_us": accepted_us}
