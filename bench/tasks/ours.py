"""YiVideo as it is started for use: `python -m stack` with every part, and the toy node beside them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from bench import processes
from bench.servers import ROOT, program
from bench.tasks.peers import System
from bench.tasks.rest import Connection, connected, request

SLOTS = 32
GRACE_SECONDS = 0.5
_START_SECONDS = 60.0


@dataclass(frozen=True)
class Yivideo(System):
    """The whole stack."""

    stack_pid: int
    card: Mapping[str, Any]
    folder: Path

    def redis(self, which: str = "redis") -> Redis:
        """Return a client of the stack's Redis of tasks, or of its `lease_redis`, to look from outside."""
        host, port = self.card[which].split(":")
        client: Redis = Redis(host=host, port=int(port), password=self.card["token"], decode_responses=True)
        return client

    def node_pid(self) -> int:
        """Return the toy node's process id now: the stack starts it again when it dies."""
        for pid in processes.tree([self.stack_pid]):
            with contextlib.suppress(OSError):
                if b"bench.tasks.toy\0" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    return pid
        raise RuntimeError("there is no toy node")


def submit(name: str, task_input: Mapping[str, Any] | None = None, *, wait: bool = False) -> bytes:
    """Return a submit request."""
    headers = {"Prefer": "wait=60"} if wait else {}
    return request("POST", "/v1/tasks", {"task_name": name, "input_data": task_input or {}}, **headers)


_NOOP = submit("toy.noop", wait=True)


async def noop(connection: Connection) -> float:
    """Run a no-op to its end, with `Prefer: wait`."""
    answer = await connection.ask(_NOOP)
    shown = answer.json()
    if answer.status != 200 or shown["state"] != "completed":
        raise RuntimeError(f"{answer.status}: {answer.body[:300]!r}")
    return 0.0


def _python(root: Path) -> str:
    """Return a checkout's own interpreter, with the packages of its own lock; ours where it has none."""
    own = root / ".venv/bin/python"
    return str(own) if own.exists() else sys.executable


def _only_ffmpeg(root: Path) -> dict[str, str]:
    """Return the setting that leaves out all nodes but ffmpeg, where a version has it: older ones have no other node."""
    known = root / "docs/settings.md"
    has_it = known.exists() and "| `only` |" in known.read_text()
    return {"YIVIDEO_STACK__ONLY": '["ffmpeg"]'} if has_it else {}


@asynccontextmanager
async def running(folder: Path, root: Path = ROOT, **settings: str) -> AsyncIterator[Yivideo]:
    """Run the stack of the checkout `root` for the time of a block, warm: it has done some tasks."""
    folder.mkdir(parents=True)
    toy = {"name": "toy", "module": "bench.tasks.toy", "slots": SLOTS}
    environment = {
        "YIVIDEO_STACK__FOLDER": str(folder / "run"),
        "YIVIDEO_STACK__GATEWAY_LISTEN": "127.0.0.1:0",
        **_only_ffmpeg(root),
        "YIVIDEO_STACK__NODES": json.dumps([toy]),
        "YIVIDEO_NODE__KILL_GRACE_SECONDS": str(GRACE_SECONDS),
        "YIVIDEO_RUNTIME__LOG_LEVEL": "warning",
        **settings,
    }
    card_file = folder / "run/stack.json"
    with program([_python(root), "-m", "stack"], environment, log=folder / "stack.log", cwd=root) as stack:
        async with asyncio.timeout(_START_SECONDS):
            while not card_file.exists():
                if stack.poll() is not None:
                    raise RuntimeError((folder / "stack.log").read_text())
                await asyncio.sleep(0.05)
        card = json.loads(card_file.read_text())
        address = card["url"].removeprefix("http://")
        async with connected(address) as connection:
            for _ in range(20):
                await noop(connection)
        pids = processes.tree([stack.pid])
        yield Yivideo("YiVideo", address, pids, {"Prefer: wait": noop}, stack.pid, card, folder)
