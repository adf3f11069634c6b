"""yivideo_tasks_total: each task once, by how it ended, wherever it ended."""

from __future__ import annotations

from contextlib import aclosing

import pytest
from prometheus_client import REGISTRY

from scheduler.metrics import count_ended
from tests.scheduler.conftest import Harness
from yivideo.task.v1 import task_pb2


def counted() -> dict[tuple[str, str], float]:
    """Tasks of the node `media` so far, by outcome and code."""
    return {
        (sample.labels["outcome"], sample.labels["code"]): sample.value
        for family in REGISTRY.collect()
        if family.name == "yivideo_tasks"
        for sample in family.samples
        if sample.name.endswith("_total") and sample.labels["node"] == "media"
    }


@pytest.mark.trial("10.6")
async def test_every_task_is_counted_once_where_it_ends(harness: Harness) -> None:
    """Completed, skipped, failed, lost, cancelled while it ran and while it waited, never started, failed with another."""
    before = counted()
    node = await harness.node()
    client = await harness.scheduler(
        max_worker_lost=1, lost_seconds=0.2, refused_seconds=0.1, silence_seconds=0.5
    )

    await client.submit("done")
    await client.submit("waiting")
    await client.cancel("waiting")
    await (await node.arrival("done")).complete()
    await client.ended("done")

    await client.submit("skipped")
    await (await node.arrival("skipped")).complete(skipped=True)
    await client.ended("skipped")

    await client.submit("broken")
    await client.submit("dependent", depends_on=["broken"])
    await (await node.arrival("broken")).fail("BROKEN")
    await client.ended("dependent")

    await client.submit("cancelled")
    here = await node.arrival("cancelled")
    await client.cancel("cancelled")
    await here.say(cancelled=task_pb2.TaskCancelled())
    await client.ended("cancelled")

    await client.submit("lost")
    await node.arrival("lost")
    async with aclosing(client.watch("lost")) as events:  # type: ignore[type-var]
        while not (await anext(events)).HasField("started"):
            pass
    del node.attempts["lost"]  # the node's process was another one
    client.scheduler.dispatcher.runners[0].suspend()
    client.scheduler.dispatcher.runners[0].resume()
    await client.ended("lost")

    grown = {
        key: value - before.get(key, 0) for key, value in counted().items() if value != before.get(key, 0)
    }
    assert grown == {
        ("completed", ""): 1,
        ("skipped", ""): 1,
        ("failed", "BROKEN"): 1,
        ("failed", "DEPENDENCY_FAILED"): 1,
        ("failed", "WORKER_LOST"): 1,
        ("cancelled", ""): 2,
    }


def test_codes_that_nodes_make_up_do_not_fill_the_endpoint() -> None:
    """What is no code, or comes after very many, is counted as OTHER."""
    count_ended("media", "failed", "no code at all")
    for number in range(300):
        count_ended("media", "failed", f"MADE_UP_{number}")
    codes = {code for outcome, code in counted() if outcome == "failed"}
    assert "OTHER" in codes and "no code at all" not in codes
    assert len(codes) <= 258
