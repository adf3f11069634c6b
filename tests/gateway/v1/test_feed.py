"""GET /v1/events: the feed of many tasks, as server-sent events."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from tests.gateway.conftest import Harness, StartHarness
from tests.gateway.test_access import ALICE, KEYS, OPERATOR
from tests.gateway.v1.test_events import Event, read_events
from yivideo.task.v1 import task_pb2 as pb


def told(cursor: str, task_id: str, sequence: int, **event: object) -> pb.WatchEventsResponse:
    one = pb.TaskEvent(task_id=task_id, attempt=1, sequence=sequence, **event)  # type: ignore[arg-type]
    one.time.FromSeconds(1_700_000_000)
    return pb.WatchEventsResponse(cursor=cursor, event=one)


FEED = [
    told("2-0", "t1", 1, accepted=pb.TaskAccepted()),
    told("3-0", "t2", 1, accepted=pb.TaskAccepted()),
    told("4-0", "t1", 2, completed=pb.TaskCompleted()),
]


async def take(response: aiohttp.ClientResponse, count: int) -> list[Event]:
    """Read until so many events came that have a name."""
    found = []
    async with asyncio.timeout(5):
        async for event in read_events(response):
            found += [event] if event.name else []
            if len(found) == count:
                break
    return found


@pytest.mark.trial("10.14")
async def test_the_feed_is_one_schema_and_goes_on_where_it_broke(harness: Harness) -> None:
    """Names, ids and data; the header goes before `after`; a break in between is not noticed, and nothing comes twice."""
    harness.scheduler.feed = list(FEED)
    harness.scheduler.feed_breaks = True
    async with harness.http.get("/v1/events?after=0-1") as response:
        events = await take(response, 4)
    assert [(event.name, event.id, event.data.get("task_id")) for event in events] == [
        ("events_lost", "0-1", None), ("accepted", "2-0", "t1"), ("accepted", "3-0", "t2"), ("completed", "4-0", "t1"),
    ]  # fmt: skip
    async with harness.http.get("/v1/events?after=2-0", headers={"Last-Event-ID": "3-0"}) as response:
        assert [event.id for event in await take(response, 1)] == ["4-0"]


@pytest.mark.trial("10.14")
async def test_conditions_reach_the_scheduler_and_a_key_sees_its_own(start_harness: StartHarness) -> None:
    """Workflow, labels, kinds; the user is the key's, whoever is asked for; operators may ask for anybody's."""
    async with start_harness(api_keys=KEYS) as harness:
        harness.scheduler.feed = list(FEED)
        query = "/v1/events?workflow_id=w&label=a=b&label=c=&kind=completed"
        async with harness.http.get(query, headers={"X-API-Key": ALICE}) as response:
            assert response.status == 200
        asked = next(one for one in harness.scheduler.requests if isinstance(one, pb.WatchEventsRequest))
        assert (asked.user, asked.workflow_id, dict(asked.labels), list(asked.kinds)) == (
            "alice", "w", {"a": "b", "c": ""}, ["completed"],
        )  # fmt: skip
        for headers, path, status in (
            ({"X-API-Key": ALICE}, "/v1/events?user=bob", 403), ({}, "/v1/events", 401),
            ({"X-API-Key": OPERATOR}, "/v1/events?user=bob", 200), ({"X-API-Key": ALICE}, "/v1/events?after=x", 400),
        ):  # fmt: skip
            async with harness.http.get(path, headers=headers) as response:
                assert response.status == status, path
