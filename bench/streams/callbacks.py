"""Callbacks while another receiver's host is dead: how fast they go, and what the dead host's queue costs."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from aiohttp import web

from bench.streams.installation import Installation


@dataclass
class Callbacks:
    """What was measured."""

    dead: int
    """Callbacks that wait for a host which takes connections and never answers."""
    fine: int
    """Callbacks to a good host, asked for while those wait."""
    rate: float
    """Of the good host's callbacks, a second."""
    p50_ms: float
    p99_ms: float
    """From the cancel that ended the task to the request at the receiver."""
    core_percent: float
    """What the scheduler replicas use of one core while nothing but the dead host's queue is left."""


async def callbacks(installation: Installation, dead: int, fine: int) -> Callbacks:
    """End tasks that never ran, so that each has a callback due; first the dead host's, then the good one's."""
    arrived: dict[str, float] = {}
    everybody = asyncio.Event()

    async def receive(request: web.Request) -> web.Response:
        task_id = (await request.json())["task_id"]
        arrived.setdefault(task_id, time.perf_counter())
        if len(arrived) == fine:
            everybody.set()
        return web.Response()

    app = web.Application()
    app.router.add_post("/", receive)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", installation.receiver_port).start()
    with socket.socket() as silent:
        silent.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        silent.bind(("127.0.0.1", installation.dead_port))
        silent.listen(1024)
        async with aiohttp.ClientSession(f"http://{installation.gateway}") as http:
            await _end(http, "dead", dead, installation.dead_port)
            ended = await _end(http, "fine", fine, installation.receiver_port)
            async with asyncio.timeout(60):
                await everybody.wait()
        took = max(arrived.values()) - min(arrived.values())
        await asyncio.sleep(2.0)
        before, begun = _cpu_seconds(installation), time.perf_counter()
        await asyncio.sleep(8.0)
        percent = 100 * (_cpu_seconds(installation) - before) / (time.perf_counter() - begun)
    await runner.cleanup()
    delays = sorted(1000 * (arrived[name] - at) for name, at in ended.items())
    return Callbacks(
        dead, fine, fine / took, delays[len(delays) // 2], delays[int(len(delays) * 0.99)], percent
    )


async def _end(http: aiohttp.ClientSession, kind: str, count: int, port: int) -> dict[str, float]:
    """Submit tasks that start in an hour and cancel them; gives when each was cancelled."""
    ended: dict[str, float] = {}
    numbers = iter(range(count))

    async def some() -> None:
        for number in numbers:
            task_id = f"{kind}-{number}"
            body = {
                "task_name": "talker.talk", "task_id": task_id, "input_data": {"lines": 1}, "delay_seconds": 3600,
                "callback": f"http://127.0.0.1:{port}/",
            }  # fmt: skip
            async with http.post("/v1/tasks", json=body) as response:
                response.raise_for_status()
            ended[task_id] = time.perf_counter()
            async with http.delete(f"/v1/tasks/{task_id}") as response:
                response.raise_for_status()

    await asyncio.gather(*(some() for _ in range(8)))
    return ended


def _cpu_seconds(installation: Installation) -> float:
    total = 0
    for number in range(len(installation.schedulers)):
        fields = (
            Path(f"/proc/{installation.pid(f'scheduler-{number}')}/stat")
            .read_text()
            .rsplit(")", 1)[1]
            .split()
        )
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")
