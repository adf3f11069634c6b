"""Orderly stops: what a node hands back is written down, or known later, and is never counted as lost."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from scheduler.run.joint_drain import await_draining_nodes
from tests.conftest import ROOT
from tests.scheduler.conftest import Harness, running_client, until
from tests.scheduler.fake_node import FakeNode, serving_node
from yivideo.task.v1 import task_pb2

PENDING, RUNNING = task_pb2.TASK_STATE_PENDING, task_pb2.TASK_STATE_RUNNING


@pytest.mark.trial("10.1")
async def test_a_scheduler_that_stops_hears_draining_nodes_out(harness: Harness) -> None:
    """Told to stop at the same moment, the scheduler stays until the node has handed back: the task waits again, uncounted."""
    node = await harness.node()
    async with running_client(harness.settings()) as client:
        await client.sees(1)
        await client.submit("t1")
        here = await node.arrival("t1")
        node.draining = True
        await node.notify()

        async def hand_back_late() -> None:
            await until(lambda: client.scheduler.draining.is_set())
            await asyncio.sleep(0.3)  # longer than a node that does not drain is given
            await here.say(handed_back=task_pb2.TaskHandedBack())

        late = asyncio.create_task(hand_back_late())
    await late
    other = await harness.scheduler()
    task = await other.get("t1")
    assert (task.state, task.attempt, task.worker_lost_count) == (PENDING, 0, 0)


@pytest.mark.trial("10.1")
async def test_an_end_that_nobody_heard_is_known_after_the_restart(harness: Harness) -> None:
    """Scheduler and node were killed by the same hand; the node's next process, at another address, has what was handed back."""
    first = FakeNode(replica="r1")
    async with serving_node(first) as address:
        harness.addresses["media"] = [address]
        async with running_client(harness.settings()) as client:
            await client.sees(1)
            await client.submit("t1")
            here = await first.arrival("t1")
    # Nobody follows it and nobody listens there any more; it was handed back all the same.
    await here.say(handed_back=task_pb2.TaskHandedBack())
    second = FakeNode(replica="r2")
    second.attempts["t1"] = here
    harness.addresses.clear()
    await harness.node(second)
    other = await harness.scheduler()
    again = await second.arrival("t1", attempt=1)
    task = await other.get("t1")
    assert (task.state, task.attempt, task.worker_lost_count) == (RUNNING, 1, 0)
    assert again.request.fence > here.request.fence


async def test_how_long_a_scheduler_may_take_to_stop_is_told(tmp_path: Path) -> None:
    """The wait for nodes that drain is part of its limit, else the alert on a stuck drain fires at every update of both."""
    environment = {
        "PATH": "/usr/bin:/bin",
        "YIVIDEO_RUNTIME__METRICS_LISTEN": "127.0.0.1:0",
        "YIVIDEO_RUNTIME__DRAIN_SECONDS": "10",
        "YIVIDEO_SCHEDULER__HAND_BACK_SECONDS": "560",
        "YIVIDEO_SCHEDULER__REDIS_URL": "redis://127.0.0.1:1/0",  # where nobody is: it waits, and shows its figures
    }
    log = tmp_path / "log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "scheduler"], stderr=stream, env=environment, cwd=ROOT
        )
    try:
        await until(lambda: '"metrics_port":' in log.read_text() or process.poll() is not None, 20)
        port = re.search(r'"metrics_port":(\d+)', log.read_text())
        assert port is not None, log.read_text()
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{port[1]}/metrics") as answer,
        ):
            assert "\nyivideo_drain_limit_seconds 570.0\n" in await answer.text()
    finally:
        process.kill()
        process.wait()


async def test_nodes_that_go_on_hold_nobody_up() -> None:
    """A scheduler that stops alone lets go of what runs on nodes that do not drain, and one without attempts waits for nothing."""
    asked = 0

    def is_draining() -> bool:
        nonlocal asked
        asked += 1
        return False

    await asyncio.wait_for(await_draining_nodes(lambda: False, is_draining, 3600), 5)
    assert asked == 0
    await asyncio.wait_for(await_draining_nodes(lambda: True, is_draining, 3600), 5)
    assert asked > 0
