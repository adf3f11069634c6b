"""/v1/monitoring and /api/v1/monitoring: the first YiVideo's bodies, true figures, and none of its defects."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from gateway.settings import Scope
from runtime import errors
from tests.gateway.conftest import Harness, StartHarness
from tests.gateway.fake_locks import stamp
from tests.gateway.routes import ROUTES
from yivideo.gpulock.v1 import monitor_pb2 as pb
from yivideo.task.v1 import task_pb2

BASE = "/api/v1/monitoring"


async def get(harness: Harness, path: str, **query: str) -> dict[str, Any]:
    """Return a good answer's body."""
    async with harness.http.get(BASE + path, params=query) as response:
        assert response.status == 200, await response.text()
        body: dict[str, Any] = await response.json()
        return body


async def call(
    harness: Harness, method: str, path: str, body: Any = None, status: int = 200
) -> dict[str, Any]:
    """Make a call that is expected to end with a status."""
    async with harness.http.request(method, BASE + path, json=body) as response:
        assert response.status == status, await response.text()
        answer: dict[str, Any] = await response.json()
        return answer


BODIES = {
    "/gpu-lock/status": "lock_key is_locked lock_holder ttl_seconds timestamp health statistics recent_history lock_type lock_age",
    "/gpu-lock/health": "overall_status issues_count total_attempts success_rate timeout_rate average_execution_time "
    "recent_success_rate lock_holder lock_age timestamp",
    "/monitor/status": "monitor_status monitor_stats config is_running uptime",
    "/monitor/health": "status issues metrics timestamp",
    "/heartbeat/all": "active_tasks dead_tasks orphaned_tasks statistics timestamp",
    "/heartbeat/task/t1": "task_id heartbeat_exists is_registered status heartbeat_data last_update is_running",
    "/timeout/status": "timeout_stats action_history configured_actions timestamp",
    "/timeout/config": "warning soft_timeout hard_timeout",
    "/statistics": "timestamp gpu_lock monitor heartbeat timeout",
    "/health": "status issues components timestamp",
}
STATISTICS = (
    "total_attempts successful_acquisitions timeouts average_wait_time last_lock_time last_lock_holder total_execution_time "
    "execution_count event_driven_acquisitions polling_acquisitions success_rate timeout_rate average_execution_time "
    "history_size recent_success_rate event_driven_rate polling_rate pub_sub_available active_waiters pub_sub_subscriptions"
)


@pytest.mark.parametrize("path", BODIES)
async def test_the_first_yivideos_fields_are_all_there(harness: Harness, path: str) -> None:
    """Each body has every field that its clients read, below both prefixes."""
    await harness.submit("t1")
    harness.locks.hold("t1:1", task_id="t1")
    body = await get(harness, path)
    assert set(BODIES[path].split()) <= set(body)
    async with harness.http.get(f"/v1/monitoring{path}") as response:
        assert response.status == 200 and set(await response.json()) == set(body)
    for figures in (body.get("statistics", {}), body.get("gpu_lock", {})):
        if "total_attempts" in figures:
            assert set(STATISTICS.split()) <= set(figures)
            assert set(figures["exception_stats"]) == {
                "normal_release_failures", "emergency_releases", "release_script_errors", "ownership_violations",
            }  # fmt: skip


async def test_a_free_lock_is_an_answer(harness: Harness) -> None:
    """A lock that nobody holds answers 200 with numbers where numbers belong; and 0 attempts are no low success."""
    body = await get(harness, "/gpu-lock/status")
    assert (body["lock_key"], body["is_locked"], body["lock_type"]) == ("gpu_lock:gpu-a", False, "free")
    assert (body["lock_holder"], body["ttl_seconds"], body["lock_age"]) == (None, None, 0)
    assert (body["health"]["status"], body["health"]["issues"]) == ("healthy", [])
    summary = await get(harness, "/gpu-lock/health")
    assert (summary["total_attempts"], summary["success_rate"], summary["timeout_rate"]) == (0, 1.0, 0.0)
    assert await call(harness, "POST", "/timeout/check") == {"status": "no_lock"}


async def test_a_held_lock_shows_its_holder(harness: Harness) -> None:
    """The holder is the task whose heartbeat can be asked for; the age is that of the lease, not of a process's memory."""
    await harness.submit("t1")
    harness.locks.hold("t1:1", task_id="t1", held_seconds=45.0, state=pb.HOLDER_STATE_HELD)
    harness.locks.status.waiters.add(
        request_id="t2:1", position=1, pool="default", task_id="t2", reason="gpu-a is held"
    )
    harness.locks.status.waiter_count = 1
    body = await get(harness, "/gpu-lock/status", lock_key="gpu_lock:gpu-a")
    assert (body["is_locked"], body["lock_type"], body["lock_holder"]) == (True, "active", "t1")
    assert (body["lock_age"], body["ttl_seconds"]) == (45.0, 12.5)
    assert [one["task_id"] for one in body["waiters"]] == ["t2"]
    assert (await get(harness, "/gpu-lock/waiters"))["waiter_count"] == 1
    assert (await get(harness, "/gpu-lock/status", lock_key="gpu_lock:1"))["is_locked"] is False
    beats = await get(harness, f"/heartbeat/task/{body['lock_holder']}")
    assert beats["heartbeat_exists"] and beats["heartbeat_data"]["lease"] == "t1:1"
    refused = await call(harness, "GET", "/gpu-lock/status?lock_key=gpu_lock:none", status=404)
    assert refused["code"] == "NOT_FOUND"


async def test_an_idle_model_does_not_lock(harness: Harness) -> None:
    """A parked lease is shown among the holders, and the lock is free, because it gives way."""
    harness.locks.hold("warm", state=pb.HOLDER_STATE_PARKED, model="large-v3", preemptible=True)
    body = await get(harness, "/gpu-lock/status")
    assert body["is_locked"] is False
    assert [(one["state"], one["model"]) for one in body["holders"]] == [("parked", "large-v3")]


async def test_figures_are_those_of_the_whole_system(harness: Harness) -> None:
    """Rates leave out waits that were taken back; pushes, revocations and stale messages are counted as what they are."""
    harness.locks.health.statistics.MergeFrom(
        pb.Statistics(
            total_attempts=12, successful_acquisitions=8, timeouts=1, refused=1, cancelled=2, pushed_grants=8, waiters=3,
            recent_successes=5, recent_attempts=10, stale_messages=4, last_holder="t9", last_grant_time=stamp(5),
            releases={"normal": 5, "heartbeat": 1, "hard_timeout": 1, "forced": 1},
        )
    )  # fmt: skip
    harness.locks.health.level = pb.HEALTH_LEVEL_CRITICAL
    harness.locks.health.issues.add(
        rule="GPU_LOCK_DEADLOCK_DETECTED",
        level=pb.HEALTH_LEVEL_CRITICAL,
        message="held for 9000 s",
        value=9000,
        threshold=3600,
    )
    harness.locks.history.records.add(
        request_id="r1", task_id="t8", devices=["gpu-a"], token=3, success=True, reason="normal",
        ask_time=stamp(20), grant_time=stamp(15), end_time=stamp(5),
    )  # fmt: skip
    figures = (await get(harness, "/statistics"))["gpu_lock"]
    assert (figures["success_rate"], figures["timeout_rate"], figures["recent_success_rate"]) == (
        0.8,
        0.1,
        0.5,
    )
    assert (figures["event_driven_acquisitions"], figures["polling_acquisitions"]) == (8, 0)
    assert figures["exception_stats"] == {
        "normal_release_failures": 2, "emergency_releases": 1, "release_script_errors": 0, "ownership_violations": 4,
    }  # fmt: skip
    assert (figures["active_waiters"], figures["last_lock_holder"], figures["history_size"]) == (3, "t9", 1)
    summary = await get(harness, "/gpu-lock/health")
    assert (summary["overall_status"], summary["issues_count"]) == ("critical", 1)
    assert (await get(harness, "/health"))["components"]["gpu_lock"] == "critical"
    (record,) = (await get(harness, "/gpu-lock/status"))["recent_history"]
    assert set(record) >= {"task_name", "lock_key", "success", "start_time", "end_time", "duration"}
    assert record["duration"] == pytest.approx(10, abs=0.01) and record["wait_seconds"] == pytest.approx(
        5, abs=0.01
    )
    assert (await get(harness, "/gpu-lock/history"))["records"] == [record]


@pytest.mark.parametrize("path", ["/gpu-lock/release", "/lock/release", "/release-lock"])
async def test_a_forced_release_needs_no_ownership(harness: Harness, path: str) -> None:
    """An operator takes a lease by its lock whoever holds it; of a free lock the answer says so; the reason is passed on."""
    free = await call(harness, "POST", path, {"lock_key": "gpu_lock:0"})
    assert (free["success"], free["lock_key"], free["task_name"]) == (False, "gpu_lock:gpu-a", "manual")
    harness.locks.hold("t1:1", task_id="t1")
    taken = await call(
        harness, "POST", path, {"lock_key": "gpu_lock:0", "reason": "it hangs", "task_name": "anna"}
    )
    assert (taken["success"], taken["revoked"], taken["task_name"]) == (True, ["t1:1"], "anna")
    assert harness.locks.requests[-1].reason == "it hangs (anna, anonymous)"
    gone = await call(harness, "POST", path, {"request_id": "nobody"}, status=404)
    assert gone["code"] == "NOT_FOUND"


async def test_settings_change_whole_or_not_at_all(harness: Harness) -> None:
    """Values go through as JSON; a wrong name is refused with its pointer; start and stop switch the watcher."""
    changed = await call(harness, "PATCH", "/gpu-lock/config", {"values": {"gpu_lock.max_wait_time": 5}})
    assert (changed["values"]["gpu_lock.max_wait_time"], changed["version"]) == (5, 2)
    assert changed["source"] == "rest:anonymous"
    refused = await call(harness, "PATCH", "/gpu-lock/config", {"values": {"nonsense": 1}}, status=400)
    assert refused["errors"][0]["pointer"] == "/values/nonsense"
    for number in ("1e999", "-1e999"):
        body = f'{{"values": {{"gpu_lock.max_wait_time": {number}}}}}'
        headers = {"Content-Type": "application/json"}
        async with harness.http.patch(f"{BASE}/gpu-lock/config", data=body, headers=headers) as response:
            assert response.status == 400
    huge = await call(harness, "PATCH", "/gpu-lock/config", {"values": {"gpu_lock.max_wait_time": 10**40}})
    assert huge["values"]["gpu_lock.max_wait_time"] == 10**40
    await call(harness, "PATCH", "/gpu-lock/config", {"values": {"gpu_lock.max_wait_time": 5}})
    for path, running, status in (("stop", False, "stopped"), ("start", True, "healthy")):
        said = await call(harness, "POST", f"/monitor/{path}")
        assert said["success"] is True and "revokes nothing" not in said["message"], (
            "it takes silent leases still"
        )
        shown = await get(harness, "/monitor/status")
        assert (shown["is_running"], shown["monitor_status"]["status"]) == (running, status)
        assert shown["config"]["enabled"] is running and shown["config"]["heartbeat"] == {"timeout": 300.0}
        assert (await get(harness, "/monitor/health"))["status"] == status
    harness.locks.watcher.check_time.CopyFrom(stamp(1000))
    assert (await get(harness, "/monitor/health"))["status"] == "warning"
    harness.locks.watcher.last_error = "redis was away"
    assert (await get(harness, "/monitor/health"))["status"] == "error"


async def test_a_device_is_drained_and_comes_back(harness: Harness) -> None:
    """Drain and its undoing name the device; an unknown one is 404."""
    path = "/gpu-lock/devices/gpu-b/drain"
    assert (await call(harness, "POST", path, {"reason": "fan"}))["draining"] is True
    assert harness.locks.requests[-1].reason == "fan"
    assert (await call(harness, "DELETE", path))["draining"] is False
    harness.locks.status.devices.add(device="small-0", pool="small")
    assert (await call(harness, "POST", "/gpu-lock/devices/small-0/drain"))["draining"] is True
    assert harness.locks.requests[-1].pool == "small", "a device is found without its pool"
    await call(harness, "POST", "/gpu-lock/devices/none/drain", status=404)


async def test_beats_tell_the_living_from_the_dead(harness: Harness) -> None:
    """A running task lives, with or without a lease; silence is death; a lease without a running task is an orphan."""
    for task_id in ("lives", "cpu"):
        await harness.submit(task_id)
        harness.scheduler.tasks[task_id].state = task_pb2.TASK_STATE_RUNNING
    await harness.submit("ended")
    await harness.scheduler.complete("ended")
    harness.locks.hold("lives:1", task_id="lives")
    harness.locks.hold("silent:1", task_id="silent", beat_time=stamp(500), held_seconds=600)
    harness.locks.hold("gone:1", task_id="gone", state=pb.HOLDER_STATE_QUARANTINED)
    harness.locks.hold("ended:1", "gpu-b", task_id="ended")
    body = await get(harness, "/heartbeat/all")
    assert set(body["active_tasks"]) == {"lives", "cpu"}
    assert (body["dead_tasks"], body["orphaned_tasks"]) == (["silent", "gone"], ["ended"])
    assert body["statistics"]["total_tasks"] == 5
    seen = {
        name: await get(harness, f"/heartbeat/task/{name}")
        for name in ("lives", "cpu", "silent", "ended", "nobody")
    }
    assert {name: (one["status"], one["heartbeat_exists"], one["is_registered"]) for name, one in seen.items()} == {
        "lives": ("running", True, True), "cpu": ("running", True, True), "silent": ("orphaned", False, False),
        "ended": ("orphaned", True, True), "nobody": ("not_found", False, False),
    }  # fmt: skip
    judged = await get(harness, "/health")
    assert judged["components"]["heartbeat"] == "warning"
    assert judged["issues"] == [
        "HEARTBEAT_LOST: silent does not beat any more",
        "LEASE_REVOKED: gone has lost its lease, and its memory is not known to be back",
        "HEARTBEAT_ORPHANED: ended holds a device and does not run",
    ]


async def test_a_task_that_runs_again_is_not_its_lost_attempt(harness: Harness) -> None:
    """What a lost node's attempt holds is named by its request, and can be taken; the task itself lives where it runs now."""
    await harness.submit("again")
    task = harness.scheduler.tasks["again"]
    task.state, task.replica = task_pb2.TASK_STATE_RUNNING, "n-2"
    harness.locks.hold("again:1:0.n1", task_id="again", client_id="n-1")
    (old,) = harness.locks.status.holders
    for state, dead, orphaned in (
        (pb.HOLDER_STATE_HELD, [], ["again:1:0.n1"]),
        (pb.HOLDER_STATE_QUARANTINED, ["again:1:0.n1"], []),
    ):
        old.state = state
        body = await get(harness, "/heartbeat/all")
        shown = (list(body["active_tasks"]), body["dead_tasks"], body["orphaned_tasks"])
        assert shown == (["again"], dead, orphaned)
        one = await get(harness, "/heartbeat/task/again")
        assert (one["status"], one["heartbeat_exists"]) == ("running", True)
        assert one["heartbeat_data"]["lease"] is None
    old.state = pb.HOLDER_STATE_HELD
    assert (await call(harness, "DELETE", "/heartbeat/task/again"))["success"] is False
    assert (await call(harness, "DELETE", "/heartbeat/task/again:1:0.n1"))["success"] is True
    assert old.state == pb.HOLDER_STATE_QUARANTINED
    harness.locks.hold("again:2:0.n2", "gpu-b", task_id="again", client_id="n-2")
    assert (await get(harness, "/heartbeat/task/again"))["heartbeat_data"]["lease"] == "again:2:0.n2"


async def test_who_gives_back_meanwhile_is_no_orphan(harness: Harness) -> None:
    """A task that ends between two looks, at the locks and at the tasks, raises no alarm."""
    await harness.submit("ended")
    await harness.scheduler.complete("ended")
    for path in ("/heartbeat/all", "/health"):
        harness.locks.hold("ended:1", task_id="ended")
        harness.locks.leave_after_status = "ended:1"
        body = await get(harness, path)
        assert body.get("orphaned_tasks", []) == body.get("issues", []) == []


async def test_only_the_dead_are_cleaned_up(harness: Harness) -> None:
    """Clean-up takes leases that do not beat; removing takes a dead or orphaned one's, and refuses a living task's."""
    await harness.submit("lives")
    harness.scheduler.tasks["lives"].state = task_pb2.TASK_STATE_RUNNING
    harness.locks.hold("lives:1", task_id="lives")
    harness.locks.hold("silent:1", task_id="silent", beat_time=stamp(500))
    harness.locks.hold("orphan:1", "gpu-b", task_id="orphan")
    refused = await call(harness, "DELETE", "/heartbeat/task/lives", status=400)
    assert refused["code"] == "WRONG_STATE"
    assert (await call(harness, "POST", "/heartbeat/task/lives/start"))["success"] is True
    assert (await call(harness, "POST", "/heartbeat/task/nobody/start"))["success"] is False
    cleaned = await call(harness, "POST", "/heartbeat/cleanup")
    assert (cleaned["success"], cleaned["cleaned_dead_tasks"]) == (True, 1)
    assert (await call(harness, "POST", "/heartbeat/cleanup"))["cleaned_dead_tasks"] == 0
    assert (await call(harness, "DELETE", "/heartbeat/task/orphan"))["success"] is True
    assert (await call(harness, "DELETE", "/heartbeat/task/nobody"))["success"] is False
    states = {one.lease.request_id: one.state for one in harness.locks.status.holders}
    assert states["lives:1"] == pb.HOLDER_STATE_HELD
    assert states["silent:1"] == states["orphan:1"] == pb.HOLDER_STATE_QUARANTINED


@pytest.mark.trial("10.21")
async def test_graded_timeouts_are_shown_as_they_were_acted_on(harness: Harness) -> None:
    """What ended leases comes from the history; a check says what was done, and takes a lease only for a stopped watcher."""
    harness.locks.watcher.MergeFrom(
        pb.Watcher(warnings=3, soft_timeouts=2, hard_timeouts=1, heartbeat_timeouts=1, recoveries=1)
    )
    harness.locks.history.records.add(
        request_id="r1",
        task_id="t8",
        devices=["gpu-a"],
        success=True,
        reason="hard_timeout",
        end_time=stamp(5),
    )
    harness.locks.watcher.given_warnings.add(request_id="r7", task_id="t7", devices=["gpu-a"], time=stamp(3))
    forced = harness.locks.hold("t9:1", "gpu-b", task_id="t9", state=pb.HOLDER_STATE_QUARANTINED)
    body = await get(harness, "/timeout/status")
    assert body["timeout_stats"]["failed_actions"] == 0, "what an operator took is no timeout's failure"
    harness.locks.status.holders.remove(forced)
    harness.locks.hold("r1", "gpu-b", task_id="t8", state=pb.HOLDER_STATE_QUARANTINED)
    body = await get(harness, "/timeout/status")
    assert (await get(harness, "/statistics"))["timeout"] == body["timeout_stats"]
    harness.locks.health.statistics.revocations = 4
    assert (await get(harness, "/monitor/health"))["metrics"]["recovery_rate"] == 0.25
    del harness.locks.status.holders[:]
    assert body["timeout_stats"] | {"start_time": 0} == {
        "warning_actions": 3, "soft_timeout_actions": 2, "hard_timeout_actions": 1, "successful_actions": 6,
        "failed_actions": 1, "start_time": 0,
    }  # fmt: skip
    assert [(one["level"], one["task_id"]) for one in body["action_history"]] == [
        ("warning", "t7"), ("hard_timeout", "t8"),
    ]  # fmt: skip
    last = {one["level"]: one["last_executed"] for one in body["configured_actions"]}
    assert last["warning"] == pytest.approx(time.time() - 3, abs=2) and last["soft_timeout"] is None
    assert last["hard_timeout"] == pytest.approx(time.time() - 5, abs=2)
    assert await get(harness, "/timeout/config") == {
        "warning": 1800,
        "soft_timeout": 3600,
        "hard_timeout": 7200,
    }

    harness.locks.hold("t1:1", task_id="t1", held_seconds=4000, state=pb.HOLDER_STATE_STOPPING)
    checked = await call(harness, "POST", "/timeout/check?lock_key=gpu_lock:0")
    assert [(one["level"], one["success"]) for one in checked["actions_executed"]] == [
        ("warning", True),
        ("soft_timeout", True),
    ]
    assert checked["lock_released"] is False
    harness.locks.status.holders[0].held_seconds = 9000
    assert (await call(harness, "POST", "/timeout/check"))["lock_released"] is False, "the watcher will"
    harness.locks.watcher.running = False
    assert (await call(harness, "POST", "/timeout/check"))["lock_released"] is True


async def test_without_a_lock_service(start_harness: StartHarness) -> None:
    """An installation without one says so; one whose lock service is away answers 503 too."""
    async with start_harness(gpulock_address="") as harness:
        refused = await call(harness, "GET", "/gpu-lock/status", status=503)
        assert refused["code"] == "UNAVAILABLE" and "gpulock_address" in refused["detail"]
        async with harness.http.get("/readyz") as response:
            assert "gpulock" not in (await response.json())["parts"]
    async with start_harness() as harness:
        harness.locks.fail = errors.Draining("going")
        assert (await call(harness, "GET", "/statistics", status=503))["code"] == "DRAINING"


async def test_only_operators_see_and_act(start_harness: StartHarness) -> None:
    """Every route needs the scope `operations`."""
    found = [route for route in ROUTES if "/monitoring/" in route.path and route.scope is not None]
    assert len(found) == 2 * 27 and {route.scope for route in found} == {Scope.OPERATIONS}


async def read_block(content: Any) -> tuple[str, str, dict[str, Any]]:
    """Read one event: its id, name and data."""
    fields: dict[str, str] = {}
    while line := (await content.readline()).decode().rstrip("\n"):
        name, _, value = line.partition(": ")
        fields[name] = value
    return fields.get("id", ""), fields.get("event", ""), json.loads(fields.get("data", "{}"))


async def test_lock_events_stream_and_resume(harness: Harness) -> None:
    """Events come in order with ids; a reconnect goes on behind the last one; a hole is said; a broken lock service is outlived."""
    await harness.locks.emit(
        pb.LockEvent(type="queued", request_id="r1"), pb.LockEvent(type="granted", request_id="r1")
    )
    path = f"{BASE}/gpu-lock/events"
    async with harness.http.get(path, headers={"Last-Event-ID": "1-0"}) as response:
        assert (response.status, response.content_type) == (200, "text/event-stream")
        await read_block(response.content)  # retry
        identity, name, data = await read_block(response.content)
        assert (identity, name, data["request_id"]) == ("2-0", "granted", "r1")
        await harness.locks.restart()
        harness.locks.fail = None
        await harness.locks.emit(pb.LockEvent(type="released", request_id="r1", token=7, reason="normal"))
        identity, name, data = await read_block(response.content)
        assert (identity, name, data["token"], data["reason"]) == ("3-0", "released", 7, "normal")
    harness.locks.forgotten = 2
    async with harness.http.get(path, params={"after": "1-0"}) as response:
        await read_block(response.content)
        assert (await read_block(response.content))[:2] == ("", "gap")
    for query, status in (({"pool": "none"}, 404), ({"after": "nonsense"}, 400)):
        async with harness.http.get(path, params=query) as response:
            assert response.status == status, "what cannot be streamed is told before the stream begins"
            assert status == 404 or (await response.json())["errors"][0]["pointer"] == "?after"
    async with harness.http.get(path, headers={"Last-Event-ID": "nonsense"}) as response:
        assert response.status == 400 and "Last-Event-ID" in (await response.json())["detail"]
