"""What the figures say when waits are taken back: nothing against the service."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import REGISTRY

from gpulock import metrics
from gpulock.app import publish
from gpulock.monitor import report
from gpulock.monitor.health import Present, judge
from gpulock.monitor.statistics import to_figures
from gpulock.settings import GpuLockSection, HealthThresholdsSection
from tests.gpulock.lock_client import GPU
from tests.gpulock.replicas import Replicas
from yivideo.gpulock.v1 import lock_pb2, monitor_pb2


def test_who_cancels_has_not_found_a_fault() -> None:
    """Shares are of the waits that ended otherwise; with nothing but cancelled ones there is no share, and no rule is broken."""
    counted = {
        "default|granted": "8",
        "default|timeouts": "1",
        "default|refused": "1",
        "default|cancelled": "90",
    }
    figures = to_figures(counted, "")
    assert (figures.attempts, figures.success_rate, figures.timeout_rate) == (100, 0.8, 0.1)
    assert judge(figures, Present(), HealthThresholdsSection()) == []
    only = to_figures({"default|cancelled": "5"}, "")
    assert (only.success_rate, only.timeout_rate) == (None, None)
    assert judge(only, Present(), HealthThresholdsSection()) == []


def gauge(name: str, **labels: str) -> float | None:
    """Return what Prometheus would read."""
    return REGISTRY.get_sample_value(f"yivideo_gpu_lease_{name}", labels)


async def test_prometheus_reads_what_is_the_case(replicas: Replicas, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases by state, memory and waiters of each pool, however many wait; a revoked lease ages no more."""
    other = GPU.model_copy(update={"name": "small-0", "pool": "small"})
    a = await replicas.replica(monitor={}, devices=(GPU, other))
    client = await replicas.client(a, "n1")
    lease = await client.granted("r1")
    for number, pool in enumerate(("default", "default", "default", "small", "small")):
        await client.acquire(f"w{number}", pool=pool)
    await client.receive("queued", "w4")
    monkeypatch.setattr(report, "_MOST_WAITERS", 2)
    await publish(a.replica.report)
    assert [gauge("held", pool="default", state=state) for state in ("held", "quarantined")] == [1, 0]
    assert gauge("memory_mib", pool="default", device=GPU.name, kind="leased") == GPU.memory_mib
    assert [gauge("waiters", pool=pool) for pool in ("default", "small")] == [3, 1]
    assert (gauge("age_seconds", pool="default") or 0) > 0
    force = monitor_pb2.ForceReleaseRequest(request_id="r1", reason="x")
    await a.channel.monitor.ForceRelease(force)
    await publish(a.replica.report)
    assert [gauge("held", pool="default", state=state) for state in ("held", "quarantined")] == [0, 1]
    assert gauge("age_seconds", pool="default") == 0
    assert gauge("outcomes", pool="default", outcome="granted") == 1
    assert gauge("endings", pool="default", reason="forced") == 1
    assert gauge("endings", pool="small", reason="heartbeat") == 0
    await client.send(confirm=lock_pb2.Confirm(request_id="r1", token=lease.token))
    await client.receive("confirmed", "r1")


def test_a_wait_of_minutes_has_a_bucket() -> None:
    """Waits up to the longest that the settings allow by default can be told apart."""
    series: Any = metrics.WAIT_SECONDS.labels("p").collect()
    bounds = [float(one.labels["le"]) for one in series[0].samples if "le" in one.labels]
    assert len([bound for bound in bounds if 10 < bound <= GpuLockSection().max_wait_time]) >= 4
