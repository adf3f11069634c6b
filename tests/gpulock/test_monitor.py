"""What monitors and operators see: figures of the whole system, whichever replica is asked."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from typing import Any

import grpc
import pytest
import redis

from runtime.errors import RangeRefused
from tests.gpulock.conftest import STORE
from tests.gpulock.lock_client import GPU
from tests.gpulock.replicas import Replicas, Running
from yivideo.gpulock.v1 import lock_pb2, monitor_pb2


async def statistics(running: Running) -> monitor_pb2.Statistics:
    """The figures of all pools."""
    return await running.channel.monitor.GetStatistics(monitor_pb2.GetStatisticsRequest())


async def health(running: Running) -> monitor_pb2.GetHealthResponse:
    """The judgement of all pools."""
    return await running.channel.monitor.GetHealth(monitor_pb2.GetHealthRequest())


async def refusal(call: Any) -> grpc.StatusCode:
    """The status of a call that must fail."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code()


async def test_figures_are_those_of_the_system(replicas: Replicas) -> None:
    """What happened at one replica is counted at every other."""
    a, b = await replicas.replica(monitor={}), await replicas.replica(monitor={})
    client = await replicas.client(a, "n1")
    for number in range(3):
        lease = await client.granted(f"r{number}", task_id=f"t{number}")
        await client.release(lease)
        await client.receive("released", f"r{number}")
    await client.granted("held")
    await client.acquire("late", max_wait_seconds=0.1)
    await client.receive("refused", "late")
    await client.acquire("gone")
    await client.send(cancel=lock_pb2.Cancel(request_id="gone"))
    await client.receive("cancelled", "gone")
    await client.acquire("huge", memory_mib=10**6)
    await client.receive("refused", "huge")
    seen = await statistics(b)
    assert seen.total_attempts == 7
    assert seen.successful_acquisitions == seen.pushed_grants == 4
    assert (seen.timeouts, seen.cancelled, seen.refused) == (1, 1, 1)
    assert dict(seen.releases) == {"normal": 3}
    assert (seen.ended_leases, seen.leases, seen.waiters) == (3, 1, 0)
    assert (seen.recent_successes, seen.recent_attempts) == (4, 6)
    assert seen.last_holder == "held"


async def test_history_tells_how_things_ended(replicas: Replicas) -> None:
    """Ended waits and leases, newest first, with reason and detail."""
    a = await replicas.replica(monitor={})
    client = await replicas.client(a, "n1")
    await client.granted("r1", task_id="t1", purpose="whisper.transcribe", user="u1")
    await client.acquire("r2", max_wait_seconds=0.1)
    await client.receive("refused", "r2")
    await a.channel.monitor.ForceRelease(
        monitor_pb2.ForceReleaseRequest(request_id="r1", reason="card is hot")
    )
    answer = await a.channel.monitor.ListHistory(monitor_pb2.ListHistoryRequest())
    newest, older = answer.records
    assert (newest.request_id, newest.success, newest.reason, newest.detail) == (
        "r1",
        True,
        "forced",
        "card is hot",
    )
    assert (newest.task_id, newest.purpose, newest.user, list(newest.devices)) == (
        "t1", "whisper.transcribe", "u1", ["gpu-0"],
    )  # fmt: skip
    assert newest.token > 0
    assert (older.request_id, older.success, older.reason) == ("r2", False, "timeout")
    assert not older.HasField("grant_time")
    one = await a.channel.monitor.ListHistory(monitor_pb2.ListHistoryRequest(page_size=1))
    assert len(one.records) == 1
    assert await refusal(a.channel.monitor.ListHistory(monitor_pb2.ListHistoryRequest(page_size=1001))) is (
        grpc.StatusCode.INVALID_ARGUMENT
    )


async def test_nothing_has_happened_is_healthy(replicas: Replicas) -> None:
    """No attempts are no low success rate, and a free device has no age."""
    a = await replicas.replica()
    answer = await health(a)
    assert answer.level == monitor_pb2.HEALTH_LEVEL_HEALTHY
    assert list(answer.issues) == []
    assert answer.oldest_lease_seconds == 0


async def test_health_rules(replicas: Replicas) -> None:
    """Timeouts and an old lease are called by their alert names, and the worst sets the level."""
    a = await replicas.replica(
        monitor={"health_thresholds": {"max_lock_age": 0.05}}, lock={"max_wait_time": 0.05}
    )
    client = await replicas.client(a, "n1")
    await client.granted("r1", task_id="task-1")
    for number in range(3):
        await client.acquire(f"w{number}")
        await client.receive("refused", f"w{number}")
    answer = await health(a)
    assert answer.level == monitor_pb2.HEALTH_LEVEL_CRITICAL
    assert {issue.rule for issue in answer.issues} == {
        "GPU_LOCK_SUCCESS_RATE_LOW", "GPU_LOCK_RECENT_SUCCESS_RATE_LOW", "GPU_LOCK_TIMEOUT_RATE_HIGH",
        "GPU_LOCK_DEADLOCK_DETECTED",
    }  # fmt: skip
    assert answer.oldest_holder == "task-1"
    assert answer.oldest_lease_seconds > 0.05


async def test_a_forced_release_works(replicas: Replicas) -> None:
    """An operator's release needs a reason, reaches the holder, and frees the device once the holder confirms."""
    a, b = await replicas.replica(monitor={}), await replicas.replica(monitor={})
    client = await replicas.client(a, "n1")
    lease = await client.granted("r1")
    force = b.channel.monitor.ForceRelease
    assert (
        await refusal(force(monitor_pb2.ForceReleaseRequest(request_id="r1")))
        is grpc.StatusCode.INVALID_ARGUMENT
    )
    assert await refusal(force(monitor_pb2.ForceReleaseRequest(request_id="r9", reason="x"))) is (
        grpc.StatusCode.NOT_FOUND
    )
    answer = await force(monitor_pb2.ForceReleaseRequest(device="gpu-0", reason="x"))
    assert [taken.request_id for taken in answer.revoked] == ["r1"]
    lost = await client.receive("lost", "r1")
    assert (lost.token, lost.reason, lost.message) == (lease.token, lock_pb2.STOP_REASON_FORCED, "x")
    status = await b.channel.monitor.GetStatus(monitor_pb2.GetStatusRequest())
    assert status.holders[0].state == monitor_pb2.HOLDER_STATE_QUARANTINED
    assert (status.devices[0].leased_mib, status.devices[0].quarantined_mib) == (0, 24_000)
    await client.send(confirm=lock_pb2.Confirm(request_id="r1", token=lease.token))
    await client.receive("confirmed", "r1")
    await client.granted("r2")


async def test_drain(replicas: Replicas) -> None:
    """A drained device is shown as such, and an unknown one is NOT_FOUND."""
    a = await replicas.replica()
    drain = a.channel.monitor.DrainDevice
    device = await drain(monitor_pb2.DrainDeviceRequest(device="gpu-0", reason="fan"))
    assert device.draining
    assert not (await drain(monitor_pb2.DrainDeviceRequest(device="gpu-0", undo=True))).draining
    assert await refusal(drain(monitor_pb2.DrainDeviceRequest(device="gpu-9"))) is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("method", ["GetStatus", "GetStatistics", "ListHistory", "GetHealth"])
async def test_an_unknown_pool_is_not_found(replicas: Replicas, method: str) -> None:
    """Every call that names a pool says so when there is none."""
    a = await replicas.replica()
    request = getattr(monitor_pb2, {"ListHistory": "ListHistoryRequest"}.get(method, method + "Request"))
    assert (
        await refusal(getattr(a.channel.monitor, method)(request(pool="none"))) is grpc.StatusCode.NOT_FOUND
    )


async def test_who_waits_for_a_drained_device_is_told_so(replicas: Replicas) -> None:
    """The reason that a waiter and its watchers are told is the drain, not that others are before it."""
    a = await replicas.replica(monitor={}, position_seconds=0.05)
    client = await replicas.client(a, "n1")
    lease = await client.granted("r1")
    await client.acquire("r2")
    await client.receive("queued", "r2")
    await a.channel.monitor.DrainDevice(monitor_pb2.DrainDeviceRequest(device="gpu-0", reason="fan"))
    await client.release(lease)
    async with asyncio.timeout(5):
        while "gpu-0 is being drained" not in [one.queued.reason for one in client.received]:
            await asyncio.sleep(0.02)
    (waiter,) = (await a.channel.monitor.GetStatus(monitor_pb2.GetStatusRequest())).waiters
    assert (waiter.position, waiter.reason) == (1, "gpu-0 is being drained")


async def test_watching_misses_nothing(replicas: Replicas) -> None:
    """A watcher sees every change in order, and one that comes back with its last id goes on after it, at any replica."""
    a, b = await replicas.replica(monitor={}), await replicas.replica(monitor={})
    client = await replicas.client(a, "n1")
    call = b.channel.monitor.WatchLocks(monitor_pb2.WatchLocksRequest())
    events: list[monitor_pb2.LockEvent] = []
    begun = asyncio.Event()

    async def watch(stream: Any, last: str) -> None:
        async for event in stream:
            begun.set()
            if event.type not in ("", "configured"):
                events.append(event)
            if event.type == last:
                return

    watching = asyncio.create_task(watch(call, "cancelled"))
    await begun.wait()
    lease = await client.granted("r1", task_id="t1")
    await client.acquire("r2")
    await client.receive("queued", "r2")
    await client.send(cancel=lock_pb2.Cancel(request_id="r2"))
    async with asyncio.timeout(10):
        await watching
    call.cancel()
    assert [(event.type, event.request_id) for event in events] == [
        ("granted", "r1"), ("queued", "r2"), ("cancelled", "r2"),
    ]  # fmt: skip
    assert (events[0].task_id, list(events[0].devices), events[0].token) == ("t1", ["gpu-0"], lease.token)
    await client.release(lease)
    resumed = a.channel.monitor.WatchLocks(monitor_pb2.WatchLocksRequest(after_event_id=events[1].event_id))
    del events[:]
    async with asyncio.timeout(10):
        await watch(resumed, "released")
    resumed.cancel()
    assert [event.type for event in events] == ["cancelled", "released"]


async def test_a_watcher_that_was_away_too_long_is_told(replicas: Replicas, clean_redis: redis.Redis) -> None:
    """An id older than what is kept is OUT_OF_RANGE, one that is none INVALID_ARGUMENT; a quiet stream lives."""
    a = await replicas.replica(watch_heartbeat_seconds=0.1)
    client = await replicas.client(a, "n1")
    await client.granted("r1")
    clean_redis.xtrim(f"{STORE}ev", maxlen=0, approximate=False)

    async def first(after: str) -> monitor_pb2.LockEvent:
        call = a.channel.monitor.WatchLocks(monitor_pb2.WatchLocksRequest(after_event_id=after))
        try:
            return await next_event(call)
        finally:
            call.cancel()

    assert await refusal(first("1-1")) is grpc.StatusCode.OUT_OF_RANGE
    assert await refusal(first("nonsense")) is grpc.StatusCode.INVALID_ARGUMENT
    assert (await first("")).type == ""


async def next_event(call: Any) -> monitor_pb2.LockEvent:
    event: monitor_pb2.LockEvent = await call.read()
    return event


async def test_a_watcher_hears_of_what_happens_while_following_begins(replicas: Replicas) -> None:
    """What comes between a watcher's first look and the place from which its replica follows is not left for the heartbeat."""
    a = await replicas.replica(monitor={}, watch_heartbeat_seconds=60.0)
    client = await replicas.client(a, "n1")
    lease = await client.granted("r1")
    address = a.replica.primary.address.options
    port, address["port"] = address["port"], 1
    call = a.channel.monitor.WatchLocks(monitor_pb2.WatchLocksRequest())
    assert (await next_event(call)).type == ""
    await client.release(lease)
    await client.receive("released", "r1")
    address["port"] = port
    async with asyncio.timeout(5):
        assert (await next_event(call)).type == "released"
    call.cancel()


async def test_a_watcher_that_reads_too_slowly_is_told(replicas: Replicas, clean_redis: redis.Redis) -> None:
    """Events that go before a watcher has come to read them are not passed over in silence."""
    a = await replicas.replica(monitor={})
    client = await replicas.client(a, "n1")
    lease = await client.granted("r1")
    async with aclosing(a.replica.watch.watch("", "")) as events:
        assert (await anext(events)).type == ""
        await client.release(lease)
        await client.receive("released", "r1")
        assert (await anext(events)).type == "released"
        await client.granted("r2")
        clean_redis.xtrim(f"{STORE}ev", maxlen=0, approximate=False)
        await client.acquire("r4")
        await client.receive("queued", "r4")
        with pytest.raises(RangeRefused):
            await anext(events)


async def configuration(running: Running) -> monitor_pb2.Configuration:
    """The settings in force."""
    return await running.channel.monitor.GetConfiguration(monitor_pb2.GetConfigurationRequest())


async def test_settings_change_for_all_replicas_at_once(replicas: Replicas) -> None:
    """A change at one replica is one version for all, and every session hears the new rhythm."""
    a, b = await replicas.replica(), await replicas.replica()
    early = await replicas.client(b, "n0")
    await early.receive("welcome")
    early.received.clear()
    before = await configuration(b)
    values = {"gpu_lock_monitor.heartbeat.interval": "2", "gpu_lock_monitor.heartbeat.timeout": "9"}
    changed = await a.channel.monitor.UpdateConfiguration(
        monitor_pb2.UpdateConfigurationRequest(values=values, source="me")
    )
    assert (changed.version, changed.source) == (before.version + 1, "me")
    async with asyncio.timeout(5):
        while (await configuration(b)).version != changed.version:
            await asyncio.sleep(0.02)
    for client in (early, await replicas.client(b, "n1")):
        welcome = await client.receive("welcome")
        assert (welcome.beat_seconds, welcome.ttl_seconds) == (2, 9)
    assert json.loads((await configuration(b)).values["gpu_lock_monitor.heartbeat.timeout"]) == 9


@pytest.mark.parametrize(
    "values",
    [
        {"gpu_lock.nothing": "1"},
        {"gpu_lock.max_wait_time": "soon"},
        {"gpu_lock.max_wait_time": "-1"},
        {"gpu_lock.max_wait_time": "Infinity"},
        {"gpu_lock.max_wait_time": "NaN"},
        {"gpu_lock.lock_timeout": "1e300", "gpu_lock_monitor.heartbeat.timeout": "1e300"},
        {"gpu_lock_monitor.heartbeat.interval": "1e-9"},
        {"gpu_lock_monitor.monitor_interval": "1e-9"},
        {"gpu_lock_monitor.timeout_levels.warning": "4000"},
        {"gpu_lock_monitor.heartbeat.interval": "200"},
        {"gpu_lock.lock_timeout": "100", "gpu_lock.max_wait_time": "5"},
        {"gpu_lock.max_wait_time": "1e308"},
        {"gpu_lock.max_wait_time": "Infinity"},
        {"gpu_lock.max_wait_time": "true"},
        {"gpu_lock_monitor.enabled": "1"},
        {"gpu_lock.lock_timeout": "1e15", "gpu_lock_monitor.heartbeat.timeout": "1e15"},
        {"gpu_lock_monitor.heartbeat.interval": "1e-7", "gpu_lock_monitor.heartbeat.timeout": "1e-6"},
        {"gpu_lock_monitor.monitor_interval": "1e-9"},
    ],
)
async def test_a_wrong_setting_changes_nothing(replicas: Replicas, values: dict[str, str]) -> None:
    """Settings are validated as a whole: one that is wrong, or contradicts others, leaves all as they are.

    A time that the scripts cannot count is wrong too: it would end every lease and every wait at once.
    """
    a = await replicas.replica(monitor={})
    before = await configuration(a)
    update = a.channel.monitor.UpdateConfiguration(monitor_pb2.UpdateConfigurationRequest(values=values))
    assert await refusal(update) is grpc.StatusCode.INVALID_ARGUMENT
    assert await configuration(a) == before


@pytest.mark.trial("10.21")
async def test_the_watcher_counts(replicas: Replicas) -> None:
    """What the watcher over holders did is counted over all replicas."""
    monitor = {
        "heartbeat": {"interval": 0.1, "timeout": 5.0},
        "timeout_levels": {"warning": 0.1, "soft_timeout": 0.2, "hard_timeout": 0.4},
    }
    a, b = await replicas.replica(monitor=monitor), await replicas.replica(monitor=monitor)
    client = await replicas.client(a, "n1")
    lease = await client.granted("r1")
    assert (await client.receive("warning", "r1")).held_seconds >= 0.1
    stop = await client.receive("stop", "r1")
    assert stop.reason == lock_pb2.STOP_REASON_SOFT_TIMEOUT
    assert 0 < stop.grace_seconds <= 0.2
    assert (await client.receive("lost", "r1")).reason == lock_pb2.STOP_REASON_HARD_TIMEOUT
    await client.send(confirm=lock_pb2.Confirm(request_id="r1", token=lease.token))
    await client.receive("confirmed", "r1")
    seen = await b.channel.monitor.GetWatcher(monitor_pb2.GetWatcherRequest())
    assert (seen.warnings, seen.soft_timeouts, seen.hard_timeouts, seen.recoveries) == (1, 1, 1, 1)
    (warned,) = seen.given_warnings
    assert (warned.request_id, len(warned.devices)) == ("r1", len(lease.devices)), "a device each"
    assert warned.time.ToMilliseconds() > 0
    assert seen.running
    assert seen.checks > 0
    assert seen.HasField("recovery_time")


async def test_pools_are_apart(replicas: Replicas) -> None:
    """A request of one pool is not held up by another, and figures can be asked for each."""
    other = GPU.model_copy(update={"name": "small-0", "pool": "small"})
    a = await replicas.replica(monitor={}, devices=(GPU, other))
    client = await replicas.client(a, "n1")
    await client.granted("r1")
    await client.granted("r2", pool="small")
    one = await a.channel.monitor.GetStatistics(monitor_pb2.GetStatisticsRequest(pool="small"))
    assert (one.successful_acquisitions, one.leases) == (1, 1)
    assert (await statistics(a)).leases == 2
