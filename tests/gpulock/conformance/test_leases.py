"""What a holder may say, and what becomes of a lease that is taken from it: nobody gets its memory before it is back."""

from __future__ import annotations

import pytest

from tests.gpulock.conformance.conftest import StartArbiter
from yivideo.gpulock.v1 import lock_pb2


async def test_a_beat_is_answered_with_the_lease(start: StartArbiter) -> None:
    """A beat is answered, and changes nothing of the lease but its life."""
    client = await (await start()).client()
    lease = await client.granted("r1")
    client.send(renew=lock_pb2.Renew(request_id="r1", token=lease.token))
    await client.settled()
    renewed = client.messages[-2].renewed
    assert (renewed.token, renewed.devices) == (lease.token, lease.devices)


@pytest.mark.parametrize("kind", ["renew", "release", "park", "confirm"])
@pytest.mark.parametrize("state", ["held", "waiting"])
async def test_a_token_that_is_not_the_leases_is_refused(start: StartArbiter, kind: str, state: str) -> None:
    """Whoever does not know the fencing token changes nothing."""
    client = await (await start()).client()
    lease = await client.granted("r1")
    request_id = "r1"
    if state == "waiting":
        request_id = "r2"
        await client.ask("r2")
    message = {
        "renew": lock_pb2.Renew, "release": lock_pb2.Release, "park": lock_pb2.Park, "confirm": lock_pb2.Confirm
    }[kind](request_id=request_id, token=lease.token - 1)  # fmt: skip
    client.send(**{kind: message})
    refused = await client.said(lock_pb2.Refused, request_id)
    assert (refused.code, refused.field) == ("GPU_LEASE_STALE", "token")
    client.send(renew=lock_pb2.Renew(request_id="r1", token=lease.token))
    await client.settled()
    assert "renewed" in client.kinds("r1")


async def test_giving_back_twice_is_giving_back_once(start: StartArbiter) -> None:
    """A release that is repeated, or says of a lease that nobody knows that it is back, is answered alike."""
    client = await (await start()).client()
    lease = await client.granted("r1")
    await client.release(lease)
    await client.granted("r2")
    await client.release(lease)
    await client.release(lock_pb2.Lease(request_id="unknown", token=7))
    await client.settled()
    assert [m.WhichOneof("message") for m in client.messages].count("released") == 3


@pytest.mark.parametrize("kind", ["renew", "park"])
async def test_a_lease_that_has_ended_is_lost(start: StartArbiter, kind: str) -> None:
    """Who goes on with a lease that it gave back, or that nobody knows, is told that it is gone."""
    client = await (await start()).client()
    lease = await client.granted("r1")
    await client.release(lease)
    for request_id in ("r1", "unknown"):
        if kind == "renew":
            client.send(renew=lock_pb2.Renew(request_id=request_id, token=lease.token))
        else:
            client.send(park=lock_pb2.Park(request_id=request_id, token=lease.token))
        assert (await client.said(lock_pb2.Lost, request_id)).token == lease.token


async def test_reclaim_of_what_is_on_record(start: StartArbiter) -> None:
    """A holder that reclaims a lease has it; one that reclaims what has ended has lost it."""
    client = await (await start()).client()
    lease = await client.granted("r1")
    asked = lock_pb2.Acquire(request_id="r1")
    reclaim = lock_pb2.Reclaim(
        acquire=asked, token=lease.token, devices=["gpu-0"], grant_time=lease.grant_time
    )
    client.send(reclaim=reclaim)
    await client.settled()
    assert "renewed" in client.kinds("r1")
    await client.release(lease)
    client.send(reclaim=reclaim)
    await client.said(lock_pb2.Lost, "r1")


@pytest.mark.parametrize("how", ["confirm", "release"])
async def test_what_was_revoked_stays_in_quarantine(start: StartArbiter, how: str) -> None:
    """The holder hears why; the next is granted when it says that its memory is back, and not before."""
    bench = await start()
    holder, waiter = await bench.client("n1"), await bench.client("n2")
    lease = await holder.granted("r1")
    await waiter.ask("r2")
    await bench.arbiter.revoke("r1", "it hangs")
    lost = await holder.said(lock_pb2.Lost, "r1")
    assert (lost.token, lost.reason) == (lease.token, lock_pb2.STOP_REASON_FORCED)
    assert "it hangs" in lost.message
    await waiter.settled()
    assert waiter.kinds("r2") == ["queued"]
    if how == "confirm":
        holder.send(confirm=lock_pb2.Confirm(request_id="r1", token=lease.token))
        await holder.said(lock_pb2.Confirmed, "r1")
    else:
        await holder.release(lease)
    assert (await waiter.lease("r2")).token > lease.token
    holder.send(confirm=lock_pb2.Confirm(request_id="r1", token=lease.token))
    await holder.said(lock_pb2.Confirmed, "r1")


async def test_a_revoked_holder_has_nothing(start: StartArbiter) -> None:
    """Beats, parking, asking again and taking back are all answered with the loss, and end no quarantine."""
    bench = await start()
    client = await bench.client()
    lease = await client.granted("r1")
    await client.ask("r2")
    await bench.arbiter.revoke("r1", "it hangs")
    await client.said(lock_pb2.Lost, "r1")
    client.send(renew=lock_pb2.Renew(request_id="r1", token=lease.token))
    client.send(park=lock_pb2.Park(request_id="r1", token=lease.token))
    client.send(acquire=lock_pb2.Acquire(request_id="r1"))
    client.send(cancel=lock_pb2.Cancel(request_id="r1"))
    await client.settled()
    assert [m.WhichOneof("message") for m in client.messages if m.lost.request_id == "r1"] == ["lost"] * 5
    assert client.kinds("r1") == ["granted", "lost"]
    assert client.kinds("r2") == ["queued"]


async def test_what_is_held_cannot_be_confirmed(start: StartArbiter) -> None:
    """Only a quarantine ends by a confirmation."""
    client = await (await start()).client()
    lease = await client.granted("r1")
    client.send(confirm=lock_pb2.Confirm(request_id="r1", token=lease.token))
    assert (await client.said(lock_pb2.Refused, "r1")).code == "GPU_LEASE_STALE"
    assert await client.ask("r2") == "queued"
