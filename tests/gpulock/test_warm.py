"""Warm models: parked leases that give way, and tasks that find a model on the device."""

from __future__ import annotations

from gpulock.lease.message import Client
from gpulock.store.record import to_record
from gpulock.store.script_store import text
from tests.gpulock.conftest import GPU0, GPU1, Harness, Replica

CLIENT = "node-1"


async def park(replica: Replica, request_id: str, memory_mib: int = 0, load_seconds: float = 8.0) -> str:
    """Park a lease."""
    token = replica.lease(request_id).token
    message = await replica.lessor.park(
        Client(CLIENT), request_id, token, "large-v3", memory_mib, load_seconds
    )
    return message.kind


async def test_a_parked_model_is_taken_over_without_a_gap(harness: Harness) -> None:
    """A task of the same client takes its parked lease's devices over at once, before others could come between."""
    a = await harness.replica()
    await a.ask("w1", CLIENT, memory_mib=10_000)
    assert await park(a, "w1") == "parked"
    assert await a.ask("t1", CLIENT, memory_mib=10_000, warm_request_id="w1") == "granted"
    assert a.lease("t1").warm
    assert a.lease("t1").token > a.lease("w1").token
    assert await a.memory() == {"gpu-0": (10_000, 0)}
    assert await a.figure("default|warm_hits") == "1"
    assert await a.figure("default|saved_ms") == "8000"


async def test_another_client_cannot_take_it_over(harness: Harness) -> None:
    """A parked lease is its own client's alone."""
    a = await harness.replica()
    await a.ask("w1", CLIENT)
    await park(a, "w1")
    assert await a.ask("t1", "node-2", warm_request_id="w1") == "queued"


async def test_who_waits_for_a_model_in_use_gets_it_when_it_is_parked(harness: Harness) -> None:
    """Tasks that queued while a model was in use take it over one after the other, each in its turn; nothing is asked to yield."""
    a = await harness.replica()
    await a.ask("w1", CLIENT)
    assert await a.ask("t2", CLIENT, warm_request_id="w1") == "queued"
    assert await a.ask("t3", CLIENT, warm_request_id="w1") == "queued"
    await park(a, "w1")
    assert a.kinds("t2") == ["queued", "granted"]
    assert a.lease("t2").warm
    assert await a.ask("t3", CLIENT, warm_request_id="t2") == "queued"
    await park(a, "t2")
    assert a.lease("t3").warm
    assert a.said("w1", "stop") == a.said("t2", "stop") == []
    assert (await a.figure("default|warm_hits"), await a.figure("default|evictions")) == ("2", "")
    ended = [
        (to_record(fields).request_id, text(reason))
        for fields, _, reason, _ in (await a.lessor.history("", 9)).results[0]
    ]
    assert (ended, await a.figure("default|rel:resumed")) == ([("t2", "resumed"), ("w1", "resumed")], "2")
    assert await a.memory() == {"gpu-0": (24_000, 0)}


async def test_a_task_that_is_cancelled_as_it_takes_a_model_over_frees_nothing_yet(harness: Harness) -> None:
    """The model is still on the device, under the lease that its client knows: the memory is back when the client gives that up."""
    for give_up, forced in (("release", False), ("confirm", False), ("confirm", True)):
        a = await harness.replica()
        old, new, waiting = (f"{letter}-{give_up}-{forced}" for letter in "wtr")
        await a.ask(old, CLIENT)
        await park(a, old)
        await a.ask(new, CLIENT, warm_request_id=old)
        if forced:  # before its client has heard of it
            await a.lessor.force_release(new, "default", "", "operator")
        else:
            await a.lessor.cancel(Client(CLIENT), new)
        assert await a.ask(waiting, "node-2") == "queued"
        assert await a.memory() == {"gpu-0": (0, 24_000)}
        assert (await a.renew(old)).kind == "lost"
        token = a.lease(old).token
        if give_up == "release":
            await a.release(old)
        else:
            await a.lessor.confirm(Client(CLIENT), old, token)
        assert a.kinds(waiting) == ["queued", "granted"]
        await a.release(waiting)


async def test_a_model_is_no_way_past_the_queue(harness: Harness) -> None:
    """Who was before them gets the memory: the model is asked to yield, and those who wanted it wait their turn."""
    a = await harness.replica()
    await a.ask("w1", CLIENT)
    assert await a.ask("r2", "node-2") == "queued"
    assert await a.ask("t3", CLIENT, warm_request_id="w1") == "queued"
    await park(a, "w1")
    assert [w.detail for w in a.said("w1", "stop")] == ["preempted"]
    await a.release("w1", "yielded")
    assert (a.kinds("r2"), a.kinds("t3")) == (["queued", "granted"], ["queued"])
    await a.release("r2")
    assert not a.lease("t3").warm


async def test_a_chain_of_warm_tasks_does_not_pass_a_large_request_for_ever(harness: Harness) -> None:
    """Tasks of one model pass a request for two devices for the time that small ones may; then the devices are kept for it."""
    a = await harness.replica(devices=(GPU0, GPU1), backfill_seconds=30.0)
    await a.ask("w1", CLIENT, device="gpu-0")
    await a.ask("busy", "node-2", device="gpu-1")
    assert await a.ask("large", "node-3", device_count=2) == "queued"
    last = "w1"
    for number in range(4):
        await park(a, last)
        following = f"t{number}"
        message = await a.ask(following, CLIENT, device="gpu-0", warm_request_id=last)
        if message != "granted":
            break
        last = following
        await harness.after(20)
    assert number == 2
    await a.release("busy")
    assert [w.detail for w in a.said(last, "stop")] == ["preempted"]
    await a.release(last, "yielded")
    assert a.kinds("large") == ["queued", "granted"]


async def test_parking_less_memory_frees_the_rest(harness: Harness) -> None:
    """A model that idles in less memory than its task had gives the rest to who waits for it."""
    a = await harness.replica()
    await a.ask("w1", CLIENT)
    assert await a.ask("r2", memory_mib=20_000) == "queued"
    await park(a, "w1", memory_mib=4_000)
    assert a.kinds("r2") == ["queued", "granted"]
    assert await a.memory() == {"gpu-0": (24_000, 0)}


async def test_a_parked_model_gives_way(harness: Harness) -> None:
    """When a request needs the memory the parked lease is asked to yield, once, and its release serves the request."""
    a = await harness.replica()
    await a.ask("w1", CLIENT)
    await park(a, "w1")
    assert await a.ask("r2") == "queued"
    assert [(w.kind, w.detail) for w in a.said("w1", "stop")] == [("stop", "preempted")]
    await a.ask("r3")
    assert len(a.said("w1", "stop")) == 1
    assert await a.ask("t2", CLIENT, warm_request_id="w1") == "queued"
    await a.release("w1", "yielded")
    assert a.kinds("r2") == ["queued", "granted"]
    assert await a.figure("default|evictions") == "1"
    assert await a.figure("default|rel:yielded") == "1"


async def test_only_as_many_models_give_way_as_are_needed(harness: Harness) -> None:
    """Of two parked models the one that idles longest goes, and the other stays warm when that is enough."""
    a = await harness.replica(devices=(GPU0, GPU1))
    await a.ask("w1", CLIENT, device="gpu-0")
    await a.ask("w2", CLIENT, device="gpu-1")
    await park(a, "w2")
    harness.clocks.pass_seconds(5)
    await park(a, "w1")
    await a.ask("r3", memory_mib=1_000)
    assert len(a.said("w1", "stop")) + len(a.said("w2", "stop")) == 1
    await a.ask("r4")
    assert len(a.said("w1", "stop")) + len(a.said("w2", "stop")) == 2


async def test_a_model_that_does_not_give_way_is_revoked(harness: Harness) -> None:
    """A parked lease that ignores the request to yield is revoked after the time it had for it."""
    a = await harness.replica(yield_seconds=30.0)
    await a.ask("w1", CLIENT)
    await park(a, "w1")
    await a.ask("r2")
    await harness.after(31)
    assert a.said("w1")[-1].kind == "lost"
    assert a.said("w1")[-1].detail == "preempted"


async def test_work_gives_way_only_where_it_agreed_to(harness: Harness) -> None:
    """A preemptible task is asked to stop for one that is not; two preemptible ones of equal priority do not chase each other."""
    a = await harness.replica()
    await a.ask("p1", preemptible=True)
    await a.ask("p2", preemptible=True)
    assert a.said("p1", "stop") == []
    await a.ask("r3")
    assert [w.detail for w in a.said("p1", "stop")] == ["preempted"]


async def test_what_is_freed_for_one_is_not_taken_by_another(harness: Harness) -> None:
    """Memory that a model was asked to give up for a waiter goes to that waiter, although smaller ones wait behind it."""
    a = await harness.replica()
    await a.ask("w1", CLIENT, memory_mib=12_000)
    await park(a, "w1")
    assert await a.ask("large", memory_mib=20_000) == "queued"
    assert await a.ask("small", memory_mib=8_000) == "queued"
    await a.release("w1", "yielded")
    assert a.kinds("large") == ["queued", "granted"]
    assert a.kinds("small") == ["queued"]


async def test_a_parked_lease_still_needs_beats(harness: Harness) -> None:
    """A parked lease has no graded timeouts, and ends without beats as any other."""
    a = await harness.replica()
    await a.ask("w1", CLIENT)
    await park(a, "w1")
    for _ in range(40):
        await harness.after(250)
        await a.renew("w1")
    assert set(a.kinds("w1")) == {"granted", "renewed"}
    await harness.after(301)
    assert a.said("w1")[-1].detail == "heartbeat"


async def test_draining_asks_models_to_go(harness: Harness) -> None:
    """A model parked on a device that is drained is asked to yield."""
    a = await harness.replica()
    await a.ask("w1", CLIENT)
    await park(a, "w1")
    await a.lessor.drain_device("default", "gpu-0", undo=False, reason="fan")
    assert [w.detail for w in a.said("w1", "stop")] == ["drain"]


async def test_who_yields_already_is_enough(harness: Harness) -> None:
    """A model that is on its way out for a request that has gone serves the next one; no other is asked."""
    a = await harness.replica(devices=(GPU0, GPU1))
    await a.ask("w0", CLIENT, device="gpu-0")
    await a.ask("w1", CLIENT, device="gpu-1")
    await park(a, "w0")
    await park(a, "w1")
    await a.ask("r1", device="gpu-1")
    await a.lessor.cancel(Client("client-r1"), "r1")
    assert await a.ask("r2") == "queued"
    assert (len(a.said("w0", "stop")), len(a.said("w1", "stop"))) == (0, 1)
    await a.release("w1", "yielded")
    assert a.kinds("r2") == ["queued", "granted"]


async def test_parking_answers_a_soft_timeout(harness: Harness) -> None:
    """A task that was asked to stop, ends and parks its model has stopped: nothing is revoked at the hard timeout."""
    a = await harness.replica(
        configuration={
            "gpu_lock_monitor.timeout_levels.warning": "30",
            "gpu_lock_monitor.timeout_levels.soft_timeout": "60",
            "gpu_lock_monitor.timeout_levels.hard_timeout": "120",
        }
    )
    await a.ask("w1", CLIENT)
    await harness.after(61)
    assert [w.detail for w in a.said("w1", "stop")] == ["soft_timeout"]
    await park(a, "w1")
    await harness.after(100)
    await a.renew("w1")
    assert a.said("w1")[-1].kind == "renewed"
    assert await a.ask("r2") == "queued"
    assert [w.detail for w in a.said("w1", "stop")] == ["soft_timeout", "preempted"]
