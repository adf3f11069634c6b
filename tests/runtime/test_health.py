"""Health: what watchers learn, when, and that none is forgotten."""

from __future__ import annotations

import pytest
from grpc_health.v1 import health_pb2

from runtime.errors import NotFound
from runtime.health import HealthServicer

STATES = health_pb2.HealthCheckResponse


def asked(service: str = "shop") -> health_pb2.HealthCheckRequest:
    return health_pb2.HealthCheckRequest(service=service)


@pytest.fixture
def health() -> HealthServicer:
    made = HealthServicer()
    made.set("shop", True)
    return made


async def test_a_probe_tells_the_state_now(health: HealthServicer) -> None:
    """Check answers for a service and for the process; a service that is not here is NOT_FOUND."""
    assert (await health.Check(asked(), None)).status == STATES.SERVING
    health.set("shop", False)
    assert (await health.Check(asked(), None)).status == STATES.NOT_SERVING
    assert (await health.Check(asked(""), None)).status == STATES.NOT_SERVING
    with pytest.raises(NotFound):
        await health.Check(asked("nobody"), None)


async def test_one_watcher_that_leaves_takes_nobody_along(health: HealthServicer) -> None:
    """Watchers of one name are independent: the second still learns of the drain after the first has gone."""
    first, second = health.Watch(asked(), None), health.Watch(asked(), None)
    assert [(await anext(watch)).status for watch in (first, second)] == [STATES.SERVING] * 2
    await first.aclose()
    health.begin_drain()
    assert (await anext(second)).status == STATES.NOT_SERVING


async def test_a_watch_tells_its_last_state_before_it_ends(health: HealthServicer) -> None:
    """A drain that begins and ends while a state is being sent is not lost."""
    watch = health.Watch(asked(), None)
    assert (await anext(watch)).status == STATES.SERVING
    health.begin_drain()
    health.end_watches()
    assert [answer.status async for answer in watch] == [STATES.NOT_SERVING]


async def test_an_unknown_service_may_appear_later(health: HealthServicer) -> None:
    """grpc.health.v1: watching what is not there begins with SERVICE_UNKNOWN and goes on."""
    watch = health.Watch(asked("later"), None)
    assert (await anext(watch)).status == STATES.SERVICE_UNKNOWN
    health.set("later", True)
    assert (await anext(watch)).status == STATES.SERVING


async def test_nothing_turns_healthy_again_during_a_drain(health: HealthServicer) -> None:
    """A store that comes back in the last moment does not draw traffic to a process that leaves."""
    health.begin_drain()
    health.set("shop", True)
    health.set("new", True)
    assert (await health.Check(asked(), None)).status == STATES.NOT_SERVING
    with pytest.raises(NotFound):
        await health.Check(asked("new"), None)


@pytest.mark.trial("10.2")
async def test_a_process_is_as_healthy_as_the_worst_of_its_services(health: HealthServicer) -> None:
    """Asked for no service in particular, a process serves only while every one of its services does; a watch hears each change."""
    health.set("bakery", True)
    watch = health.Watch(asked(""), None)
    for shop, bakery, process in (
        (True, True, STATES.SERVING),
        (False, True, STATES.NOT_SERVING),
        (False, False, STATES.NOT_SERVING),
        (True, False, STATES.NOT_SERVING),
        (True, True, STATES.SERVING),
    ):
        health.set("shop", shop)
        health.set("bakery", bakery)
        assert (await health.Check(asked(""), None)).status == process
    assert (await anext(watch)).status == STATES.SERVING
    health.set("bakery", False)
    assert (await anext(watch)).status == STATES.NOT_SERVING


def test_nobody_says_that_a_process_serves_when_its_services_do_not(health: HealthServicer) -> None:
    """The process's own state is not set but follows."""
    with pytest.raises(ValueError, match="follows"):
        health.set("", True)
