"""The peers: each in its own environment, with a Redis of its own, started and stopped here."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import processes
from bench.servers import ROOT, free_port, listens, program
from bench.tasks.load import OneTask
from bench.tasks.parts import durable_redis
from bench.tasks.rest import Connection, connected, request

BIN = ROOT / ".venv-bench/bin"
POLL_SECONDS = 0.05
"""How long a client that polls waits between two questions: twenty a second."""

_APPS = "bench.tasks.peer_apps"


@dataclass(frozen=True)
class System:
    """Something that runs tasks, as a client meets it."""

    name: str
    address: str
    pids: set[int]
    ways: Mapping[str, OneTask]
    """How a client brings a task to its end, by what the table calls it."""


@dataclass(frozen=True)
class Peer:
    """How a peer is started: its app module and its worker's command; and how a client can wait."""

    name: str
    module: str
    worker: tuple[str, ...]
    ways: Mapping[str, OneTask]


POLLED = f"polled every {POLL_SECONDS * 1000:.0f} ms"
GET = "AsyncResult.get"
SUBSCRIBED = "own subscription"

_SUBMIT = request("POST", "/tasks")


def _pickup_seconds(told: dict[str, Any]) -> float:
    return max(0.0, float(told["result"]["started_us"] - told["accepted_us"]) / 1e6)


def holding(path: str) -> OneTask:
    """Return the way of submitting where the answer waits for the end."""
    wanted = request("POST", path)

    async def hold(connection: Connection) -> float:
        answer = await connection.ask(wanted)
        if answer.status != 200:
            raise RuntimeError(f"{answer.status}: {answer.body[:300]!r}")
        return _pickup_seconds(answer.json())

    return hold


async def poll_task(connection: Connection) -> float:
    """Submit, then ask until the task has ended; how soon it was picked up is not seen this way."""
    answer = await connection.ask(_SUBMIT)
    task = request("GET", f"/tasks/{answer.json()['id']}")
    while True:
        await asyncio.sleep(POLL_SECONDS)
        shown = (await connection.ask(task)).json()
        if shown["status"] == "SUCCESS":
            return 0.0
        if shown["status"] == "FAILURE":
            raise RuntimeError(f"the peer's task failed: {shown}")


CELERY = Peer(
    "FastAPI + Celery",
    f"{_APPS}.celery_app",
    # One process per core is Celery's default and its best here; what it would only chat about is turned off.
    ("celery", "-A", f"{_APPS}.celery_app:celery", "worker", "--concurrency", "2", "--loglevel", "warning",
     "--without-gossip", "--without-mingle", "--without-heartbeat"),
    {POLLED: poll_task, GET: holding("/tasks/get"), SUBSCRIBED: holding("/tasks/wait")},
)  # fmt: skip
SAQ = Peer(
    "FastAPI + SAQ",
    f"{_APPS}.saq_app",
    ("saq", f"{_APPS}.saq_app.settings", "--quiet"),
    {"pub/sub": holding("/tasks/wait")},
)
TASKIQ = Peer(
    "FastAPI + taskiq-redis",
    f"{_APPS}.taskiq_app",
    ("taskiq", "worker", f"{_APPS}.taskiq_app:broker", "--workers", "1", "--log-level", "WARNING"),
    {"polled every 10 ms": holding("/tasks/wait")},
)


async def _warm(way: OneTask, connection: Connection) -> None:
    """Run a task that is not measured; a worker that has just started may fail one."""
    for pause_seconds in (0.2, 1.0):
        try:
            await way(connection)
        except RuntimeError:
            await asyncio.sleep(pause_seconds)
        else:
            return
    await way(connection)


@asynccontextmanager
async def running(peer: Peer, folder: Path) -> AsyncIterator[System]:
    """Run a peer for the time of a block, warm: it has done a task."""
    folder.mkdir(parents=True)
    with contextlib.ExitStack() as stack:
        redis_port, redis_pid = stack.enter_context(durable_redis(folder))
        environment = {"REDIS_URL": f"redis://127.0.0.1:{redis_port}/0"}
        port = free_port()
        worker = [str(BIN / peer.worker[0]), *peer.worker[1:]]
        worker_program = stack.enter_context(program(worker, environment, log=folder / "worker.log"))
        uvicorn = [
            str(BIN / "uvicorn"),
            f"{peer.module}:app",
            "--port",
            str(port),
            "--no-access-log",
            "--log-level",
            "warning",
        ]
        api = stack.enter_context(
            program(uvicorn, environment, ready=lambda: listens(port), log=folder / "api.log")
        )
        address = f"127.0.0.1:{port}"
        async with connected(address) as connection:
            for _ in range(20):
                for way in peer.ways.values():
                    await _warm(way, connection)
        pids = processes.tree([redis_pid, worker_program.pid, api.pid])
        yield System(peer.name, address, pids, peer.ways)
