"""How a session begins and ends, and what of it cannot be obeyed."""

from __future__ import annotations

from typing import Any

import pytest

from runtime.errors import InvalidArgument, Unavailable
from tests.gpulock.conformance.conftest import StartArbiter
from yivideo.gpulock.v1 import lock_pb2


async def test_the_welcome_comes_first(start: StartArbiter) -> None:
    """It says how long leases and places last; whoever shows a lease later shows no longer life than it."""
    client = await (await start(waiter_grace_seconds=7.0)).client()
    welcome = client.messages[0].welcome
    assert welcome.waiter_grace_seconds == 7.0
    assert welcome.epoch > 0
    assert 0 < (await client.granted("r1")).ttl_seconds <= welcome.ttl_seconds


@pytest.mark.parametrize(
    "first",
    [
        lock_pb2.SessionRequest(),
        lock_pb2.SessionRequest(acquire=lock_pb2.Acquire(request_id="r1")),
        lock_pb2.SessionRequest(hello=lock_pb2.Hello()),
        lock_pb2.SessionRequest(hello=lock_pb2.Hello(client_id="c" * 129)),
    ],
)
async def test_the_first_message_is_a_hello(start: StartArbiter, first: lock_pb2.SessionRequest) -> None:
    """A stream that does not say who it is ends with INVALID_ARGUMENT."""
    assert isinstance(await (await start()).stranger(first).over(), InvalidArgument)


async def test_hello_is_said_once(start: StartArbiter) -> None:
    """A second hello ends the stream."""
    client = await (await start()).client()
    client.send(hello=lock_pb2.Hello(client_id="n1"))
    assert isinstance(await client.over(), InvalidArgument)


async def test_a_newer_session_of_a_client_takes_over(start: StartArbiter) -> None:
    """The older stream ends with UNAVAILABLE; leases and places are found again over the new one."""
    bench = await start()
    old = await bench.client()
    lease = await old.granted("r1")
    await old.ask("r2")
    new = await bench.client()
    assert isinstance(await old.over(), Unavailable)
    assert await new.ask("r2") == "queued"
    await new.release(lease)
    await new.lease("r2")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"memory_mib": -1}, "memory_mib"),
        ({"priority": 101}, "priority"),
        ({"device_count": -1}, "device_count"),
        ({"max_wait_seconds": -1.0}, "max_wait_seconds"),
        ({"user": "u" * 201}, "user"),
        ({"warm_request_id": "w" * 201}, "warm_request_id"),
    ],
)
async def test_a_wrong_field_is_named(start: StartArbiter, fields: dict[str, Any], field: str) -> None:
    """What cannot be obeyed is refused, naming the field, and the session goes on."""
    client = await (await start()).client()
    assert await client.ask("bad", **fields) == "refused"
    refused = await client.said(lock_pb2.Refused, "bad")
    assert (refused.code, refused.field) == ("INVALID_ARGUMENT", field)
    await client.granted("good")
