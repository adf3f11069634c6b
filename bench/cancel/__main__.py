"""From a client's cancel over REST to the end of the last process of its task, on the real processes: `python -m bench.cancel`.

Redis, one scheduler, one node and the gateway run as in the embedded stack. The clock starts before the request is sent and stops
when the kernel says (pidfd) that the last process of the task's tree has ended. What ignores SIGTERM is killed after the node's
grace; that grace is taken off its figure. Orphans are processes of a tree that live when the task's end is told.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import select
import statistics
import tempfile
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from bench.parts import redis_part, redis_url, settings
from stack.log_files import LogFiles
from stack.part import PartSpec, python_part
from stack.ports import free_address
from stack.probes import http_probe, rpc_probe, scheduler_probe
from stack.supervisor import Supervisor

ROUNDS = 60
GRACE_SECONDS = 0.2
END_SECONDS = 30.0

FFMPEG = "ffmpeg -v quiet -nostdin -re -f lavfi -i testsrc=s=64x64:r=5 -metadata title={word} -f null -"
SCRIPTS = {
    "sh → ffmpeg, sh → sleep": FFMPEG + " & sh -c 'sleep {word}; :' & wait",
    "ignores SIGTERM": "trap '' TERM; sh -c 'trap \"\" TERM; sleep {word}; sleep {word}' & while :; do sleep {word}; done",
}
NATIVE = "worker in native code"
STUBBORN = {"ignores SIGTERM"}
"""Trees that live until their grace has passed."""
SIZES = {"sh → ffmpeg, sh → sleep": 4, "ignores SIGTERM": 4, NATIVE: 1}
"""Processes of each tree."""


@dataclass
class Figures:
    """What was measured of one kind of tree: milliseconds."""

    gone: list[float] = field(default_factory=list)
    told: list[float] = field(default_factory=list)
    orphans: int = 0


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[tuple[str, Supervisor]]:
    """Run the processes for the time of the block; gives the gateway's URL and the parts."""
    token = secrets.token_hex(16)
    redis, scheduler, node, gateway = (free_address() for _ in range(4))

    def part(name: str, module: str, listen: str, **values: str) -> PartSpec:
        return python_part(name, module, rpc_probe(listen), settings(listen, token, **values))

    nodes = json.dumps([{"node": "trees", "addresses": [node]}])
    url = f"http://{gateway}"
    scheduler_part = part(
        "scheduler",
        "scheduler",
        scheduler,
        scheduler__redis_url=redis_url(redis, token),
        scheduler__nodes=nodes,
    )
    gateway_part = part(
        "gateway", "gateway", "127.0.0.1:0", gateway__listen=gateway, gateway__scheduler_address=scheduler,
        gateway__filestore_address=node,  # never asked
    )  # fmt: skip
    supervisor = Supervisor(LogFiles(folder / "logs"))
    stages = [
        [redis_part(folder, redis, token)],
        [
            part(
                "node",
                "bench.cancel.node",
                node,
                node__kill_grace_seconds=str(GRACE_SECONDS),
                node__work_root=str(folder / "work"),
                node__output_root=str(folder / "out"),
            )
        ],
        [
            PartSpec(
                "scheduler",
                scheduler_part.argv,
                scheduler_probe(scheduler, token, lambda: {"trees"}),
                scheduler_part.environment,
            )
        ],
        [PartSpec("gateway", gateway_part.argv, http_probe(f"{url}/healthz"), gateway_part.environment)],
    ]
    async with supervisor.running(stages):
        yield url, supervisor


def tree(word: str, ancestor: int) -> list[int]:
    """The living processes below one whose command line holds a word; an empty word takes all."""
    parents, words = {}, {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            status = (entry / "stat").read_text().rpartition(")")[2].split()
            words[int(entry.name)] = (entry / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if status[0] not in "ZX":
            parents[int(entry.name)] = int(status[1])

    def below(pid: int) -> bool:
        while pid in parents:
            pid = parents[pid]
            if pid == ancestor:
                return True
        return False

    return [pid for pid in parents if word in words[pid] and below(pid)]


def watch(pids: list[int]) -> asyncio.Future[float]:
    """Give the moment at which the last of the processes has ended."""

    def wait() -> float:
        poll = select.poll()
        handles = []
        for pid in pids:
            try:
                handle = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            handles.append(handle)
            poll.register(handle, select.POLLIN)
        left = len(handles)
        deadline = time.perf_counter() + END_SECONDS
        while left and time.perf_counter() < deadline:
            for handle, _ in poll.poll(1000):
                poll.unregister(handle)
                left -= 1
        ended = time.perf_counter()
        for handle in handles:
            os.close(handle)
        return ended

    return asyncio.get_running_loop().run_in_executor(None, wait)


async def cancel_one(http: aiohttp.ClientSession, kind: str, node_pid: int, figures: Figures) -> None:
    """Start a tree, cancel it, and measure."""
    word = f"6{uuid.uuid4().int % 10**9}"
    name = f"t-{word}"
    before = set(tree("", node_pid))
    body = {"task_id": name, "task_name": "trees.stuck", "input_data": {}}
    if kind in SCRIPTS:
        body |= {"task_name": "trees.shell", "input_data": {"script": SCRIPTS[kind].replace("{word}", word)}}
    async with http.post("/v1/tasks", json=body) as answer:
        assert answer.status == 202, await answer.text()
    pids: list[int] = []
    while len(pids) < SIZES[kind]:
        await asyncio.sleep(0.02)
        pids = (
            tree(word, node_pid)
            if kind in SCRIPTS
            else [pid for pid in tree("", node_pid) if pid not in before]
        )
    await asyncio.sleep(0.3 if kind == NATIVE else 0.1)  # the worker imports, ffmpeg opens its input
    pids = sorted(set(pids) | set(tree(word, node_pid) if kind in SCRIPTS else pids))
    gone = watch(pids)
    await asyncio.sleep(0.02)  # the watching thread stands
    sent = time.perf_counter()
    async with http.delete(f"/v1/tasks/{name}") as answer:
        assert answer.status in (200, 202), await answer.text()
    async with http.get(f"/v1/tasks/{name}/events") as events:
        async for line in events.content:
            if line.startswith(b"event: cancelled"):
                break
    told = time.perf_counter()
    figures.orphans += (
        len(tree(word, node_pid))
        if kind in SCRIPTS
        else sum(Path(f"/proc/{pid}/exe").exists() for pid in pids)
    )
    ended = await gone
    grace = GRACE_SECONDS if kind in STUBBORN else 0.0
    figures.gone.append((ended - sent - grace) * 1000)
    figures.told.append((told - sent - grace) * 1000)


def percentile(values: list[float], share: float) -> float:
    """The value that so large a share does not exceed."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


async def main() -> None:
    """Measure, print a table and the result."""
    kinds = [*SCRIPTS, NATIVE]
    figures = {kind: Figures() for kind in kinds}
    with tempfile.TemporaryDirectory(prefix="yivideo-cancel-") as folder:
        async with running(Path(folder)) as (url, supervisor), aiohttp.ClientSession(url) as http:
            node_pid = supervisor.parts["node"].pid
            assert node_pid
            for _ in range(ROUNDS):
                for kind in kinds:
                    await cancel_one(http, kind, node_pid, figures[kind])
    print(
        "| tree | request → tree gone, p50 / p99 ms | request → client told, p50 / p99 ms | orphans |\n|---|---|---|---|"
    )
    for kind, found in figures.items():
        print(
            f"| {kind} | {statistics.median(found.gone):.1f} / {percentile(found.gone, 0.99):.1f} "
            f"| {statistics.median(found.told):.1f} / {percentile(found.told, 0.99):.1f} | {found.orphans} |"
        )
    gone = [value for found in figures.values() for value in found.gone]
    result = {
        "cancel_p50_ms": round(statistics.median(gone), 1),
        "cancel_p99_ms": round(percentile(gone, 0.99), 1),
        "orphans": sum(found.orphans for found in figures.values()),
    }
    print("RESULT " + json.dumps(result))


if __name__ == "__main__":
    asyncio.run(main())
