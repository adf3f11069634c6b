"""FastAPI over taskiq and Redis streams. `REDIS_URL` names the Redis. taskiq has no other wait than polling the result."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

URL = os.environ["REDIS_URL"]
CHECK_SECONDS = 0.01

broker = RedisStreamBroker(URL).with_result_backend(RedisAsyncResultBackend(URL, result_ex_time=3600))


@broker.task
async def noop() -> dict[str, int]:
    """Do nothing."""
    return {"started_us": time.time_ns() // 1000}


@contextlib.asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Be connected while the app serves."""
    await broker.startup()
    yield
    await broker.shutdown()


app = FastAPI(lifespan=lifespan)


@app.post("/tasks/wait")
async def run() -> dict[str, Any]:
    """Accept a task and answer with its result."""
    task = await noop.kiq()
    accepted_us = time.time_ns() // 1000
    result = await task.wait_result(check_interval=CHECK_SECONDS, timeout=60)
    return {"result": result.return_value, "accepted_us": accepted_us}
