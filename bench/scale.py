"""`python -m bench.scale [--tasks N]`: what one Redis does for a task, in microseconds of its one thread and in bytes.

The scheduler's stores speak to a Redis as the stack has it, without nodes and gRPC, so that nothing but Redis is measured: time in
scripts by its own `INFO commandstats`, memory by `used_memory`, disk by the append-only file, the network by what a replica is
sent. docs/scale.md reckons with these figures.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import redis

from bench.servers import free_port, program, redis_answers, redis_binary, redis_server
from runtime.structs import to_struct
from scheduler.queue.admission import AdmittedTask
from scheduler.queue.attempt_store import AttemptStore, Beat, Ending
from scheduler.queue.claim import Claim, ClaimAsk
from scheduler.queue.keys import Keys
from scheduler.queue.node_event import NodeEvent
from scheduler.queue.payload import fingerprint
from scheduler.queue.redis_link import connected
from scheduler.queue.task_store import TaskStore
from scheduler.settings import LimitsSection, SchedulerSection
from yivideo.task.v1 import task_pb2

NODE, REPLICA = "media", "media-1"
EVENTS = 20
"""Progress events of one task."""
_AT_ONCE = 64
_USERS = 50


class Redis:
    """The server, and what it says of itself."""

    def __init__(self, url: str) -> None:
        self._client = redis.Redis.from_url(url)

    def cpu_us(self) -> float:
        """Return the processor time of its main thread so far."""
        info = self._client.info("cpu")
        return 1e6 * float(info["used_cpu_user_main_thread"] + info["used_cpu_sys_main_thread"])

    def calls(self) -> tuple[float, int]:
        """Return the time in scripts so far, and how many ran."""
        found = self._client.info("commandstats").get("cmdstat_fcall", {"usec": 0, "calls": 0})
        return float(found["usec"]), int(found["calls"])

    def memory(self) -> int:
        """Return the bytes in use."""
        return int(self._client.info("memory")["used_memory"])

    def log_bytes(self) -> int:
        """Return the size of the append-only file."""
        return int(self._client.info("persistence")["aof_current_size"])

    def offset(self) -> int:
        """Return how many bytes of commands replicas have been sent."""
        return int(self._client.info("replication")["master_repl_offset"])


def task(number: int, prefix: str) -> AdmittedTask:
    """Return a task with an input as people send them."""
    spec = task_pb2.TaskSpec(
        task_id=f"{prefix}-{number:08d}",
        task_name=f"{NODE}.transcribe",
        user=f"user-{number % _USERS}",
        input=to_struct(
            {"audio_path": f"uploads/{number}/recording.wav", "language": "en", "word_timestamps": True}
        ),
        callback_url="https://example.org/callbacks/yivideo",
    )
    fields: dict[str, Any] = {
        "user": spec.user, "node": NODE, "name": spec.task_name, "workflow": spec.task_id,
        "timeout": "1800", "callback": spec.callback_url, "labels": b"",
    }  # fmt: skip
    return AdmittedTask(
        spec=spec, node=NODE, sha=fingerprint(spec), not_before="0", start_deadline_ms=0, timeout_seconds=1800, fields=fields
    )  # fmt: skip


def progress(number: int) -> NodeEvent:
    """Return one progress event as nodes send them."""
    event = task_pb2.TaskEvent(
        progress=task_pb2.Progress(percent=number, stage="transcribe", message=f"{number} of 100 s heard")
    )
    return NodeEvent("event", number + 1, event.SerializeToString())


class Measuring:
    """One run against one server."""

    def __init__(self, server: Redis, tasks: TaskStore, attempts: AttemptStore) -> None:
        self._server = server
        self._tasks = tasks
        self._attempts = attempts
        self.rows: dict[str, dict[str, float]] = {}

    async def step(self, name: str, count: int, work: Callable[[int], Awaitable[Any]]) -> list[Any]:
        """Do something so often, many at once, and note what it cost the server each time."""
        server = self._server
        before = server.calls()[0], server.cpu_us(), server.memory(), server.log_bytes(), server.offset()
        began, gate = time.monotonic(), asyncio.Semaphore(_AT_ONCE)

        async def one(number: int) -> Any:
            async with gate:
                return await work(number)

        answers = await asyncio.gather(*(one(number) for number in range(count)))
        seconds = time.monotonic() - began
        after = server.calls()[0], server.cpu_us(), server.memory(), server.log_bytes(), server.offset()
        script, cpu, memory, log, sent = (
            (late - early) / count for early, late in zip(before, after, strict=True)
        )
        self.rows[name] = {
            "script_us": round(script, 1), "redis_cpu_us": round(cpu, 1), "memory_bytes": round(memory),
            "log_bytes": round(log), "replica_bytes": round(sent), "per_second": round(count / seconds),
        }  # fmt: skip
        print(f"{name:34} {self.rows[name]}", flush=True)
        return answers

    async def life(self, label: str, count: int) -> None:
        """Take so many tasks through all of their life."""
        await self.step(
            f"submit{label}", count, lambda n: self._tasks.submit(task(n, label.strip() or "first"))
        )
        claims: list[Claim] = []

        async def claim(number: int) -> None:
            ask = ClaimAsk(REPLICA, "10.0.0.1:7100", 1_000_000, lane=number % 64, most=1)
            claims.extend((await self._attempts.claim(NODE, ask)).claims)

        await self.step(f"claim{label}", count, claim)
        await self.step(f"start{label}", len(claims), lambda n: self._attempts.append(claims[n], [_STARTED]))
        per_event = len(claims) * EVENTS
        await self.step(
            f"progress event{label}",
            per_event,
            lambda n: self._attempts.append(claims[n % len(claims)], [progress(1 + n // len(claims))]),
        )
        beats = [Beat(one.record.task_id, one.record.fence, 0.0) for one in claims]
        batches = [beats[first : first + 100] for first in range(0, len(beats), 100)]
        await self.step(f"beat of 100{label}", len(batches), lambda n: self._attempts.beat(batches[n], 5))
        await self.step(f"end{label}", len(claims), lambda n: self._attempts.end(claims[n], _ENDING, []))


_STARTED = NodeEvent(
    "started", 1, task_pb2.TaskEvent(started=task_pb2.TaskStarted(replica=REPLICA)).SerializeToString()
)
_DONE = task_pb2.TaskCompleted(
    output=to_struct({"text": "so many words " * 60, "subtitle_path": "task/recording.srt"}),
    duration_seconds=12.5,
)
_ENDING = Ending("completed", task_pb2.TaskEvent(completed=_DONE), 12.5, result=_DONE)


async def _measure(url: str, count: int, min_replicas: int, backlog: int) -> dict[str, dict[str, float]]:
    limits = LimitsSection(max_queued=0, max_queued_per_user=0)
    section = SchedulerSection(redis_url=url, limits=limits, min_replicas=min_replicas)
    keys = Keys(section.key_prefix)
    async with connected(section) as link:
        tasks, attempts = TaskStore(link, keys, section, "s"), AttemptStore(link, keys, section, "s")
        await attempts.beat([], 5)
        measuring = Measuring(Redis(url), tasks, attempts)
        await measuring.life("", count)
        if backlog:
            await measuring.step(
                f"{backlog} more submitted", backlog, lambda n: tasks.submit(task(n, "backlog"))
            )
            await measuring.life(" behind a backlog", count)
    return measuring.rows


def _with_replica(folder: Path, url: str) -> Any:
    """Return a running replica of a server."""
    at, port = urlsplit(url), free_port()
    folder.mkdir()
    argv: Sequence[str] = [
        redis_binary(), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--replicaof", "127.0.0.1", str(at.port),
        "--masterauth", str(at.password), "--appendonly", "yes", "--appendfsync", "everysec", "--save", "",
    ]  # fmt: skip
    return program(argv, ready=lambda: redis_answers(f"redis://127.0.0.1:{port}/0"))


def main() -> int:
    """Run the program."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("--tasks", type=int, default=2000, help="of each life, default 2000")
    parser.add_argument(
        "--backlog", type=int, default=50_000, help="tasks that wait in front of the second life"
    )
    given = parser.parse_args()
    told = {}
    for name, replicas, backlog in (("alone", 0, True), ("min_replicas 1", 1, False)):
        print(f"-- {name}", flush=True)
        with (
            tempfile.TemporaryDirectory(prefix="yivideo-scale-") as folder,
            redis_server(Path(folder), "always") as url,
            _with_replica(Path(folder) / "replica", url),
        ):
            _await_replica(url)
            told[name] = asyncio.run(_measure(url, given.tasks, replicas, given.backlog if backlog else 0))
    print(f"RESULT {json.dumps(told)}")
    return 0


def _await_replica(url: str) -> None:
    give_up = time.monotonic() + 20
    with redis.Redis.from_url(url) as client:
        while client.info("replication").get("slave0", {}).get("state") != "online":
            if time.monotonic() > give_up:
                raise TimeoutError("the replica does not follow")
            time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(main())
