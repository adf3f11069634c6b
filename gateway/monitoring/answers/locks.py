"""Answers about GPU locks. Field names that the first YiVideo had are kept, with its units: times are Unix seconds."""

from __future__ import annotations

from typing import Any

from gateway.http.model import Answer
from gateway.monitoring.answers.lock_figures import LockHealth, LockStatistics


class LockRecord(Answer):
    """A lease or a wait that has ended."""

    task_name: str
    """What ran, or would have; else the request."""
    lock_key: str
    """`gpu_lock:<device>`, several joined by a comma; empty: never granted."""
    success: bool
    """Whether it was granted."""
    start_time: float
    """When it was granted; for one that never was, when it was asked."""
    end_time: float
    """When it ended."""
    duration: float
    """Seconds between the two."""
    request_id: str
    """The request."""
    task_id: str
    """Its task; empty: none."""
    user: str
    """Its user."""
    token: int
    """Fencing token; 0: never granted."""
    reason: str
    """How it ended: a reason of `releases`, or timeout, refused, cancelled."""
    detail: str
    """What the operator or the rule said; may be empty."""
    wait_seconds: float
    """Seconds from asking to the grant, or to the end of the wait."""


class HolderInfo(Answer):
    """One lease in somebody's hands."""

    request_id: str
    """The request that holds it."""
    task_id: str
    """Its task; of an idle model, the one that used it last; empty: none."""
    purpose: str
    """What runs."""
    user: str
    """Its user."""
    node: str
    """Node of the process that holds it."""
    client_id: str
    """That process."""
    state: str
    """held, parked (an idle model, which gives way), stopping, or quarantined (gone; its memory is not known to be back)."""
    devices: dict[str, int]
    """MiB by device."""
    token: int
    """Fencing token."""
    priority: int
    """Priority it asked with."""
    preemptible: bool
    """Whether it gives way."""
    model: str
    """Model that idles; empty: none."""
    held_seconds: float
    """How long it has been held."""
    waited_seconds: float
    """How long it waited."""
    ttl_seconds: float
    """Seconds until it ends without a beat."""
    grant_time: float
    """When it was granted."""
    beat_time: float | None
    """When its last beat came; null: none yet."""


class WaiterInfo(Answer):
    """One request that waits."""

    request_id: str
    """The request."""
    position: int
    """Place in its pool's queue, from 1."""
    pool: str
    """Pool."""
    device: str
    """The one device that will do; empty: any."""
    memory_mib: int
    """MiB on each device; 0: whole devices."""
    device_count: int
    """Devices."""
    priority: int
    """Priority."""
    user: str
    """User."""
    task_id: str
    """Task."""
    purpose: str
    """What will run."""
    waited_seconds: float
    """How long it has waited."""
    reason: str
    """Why it cannot run yet."""


class DeviceInfo(Answer):
    """One device."""

    device: str
    """Name."""
    lock_key: str
    """Its name for `lock_key`."""
    pool: str
    """Pool."""
    host: str
    """Host; empty: any."""
    memory_mib: int
    """MiB that can be leased."""
    leased_mib: int
    """MiB in leases."""
    quarantined_mib: int
    """MiB of revoked leases that are not known to be back."""
    draining: bool
    """Whether nothing more is granted."""


class LockStatus(Answer):
    """One device's lock."""

    lock_key: str
    """`gpu_lock:<device>`."""
    is_locked: bool
    """Whether work holds it; an idle model does not count, because it gives way."""
    lock_type: str
    """active or free."""
    lock_holder: str | None
    """Task, or else request, that has held it longest; null: free."""
    lock_age: float
    """Seconds for which that one has held it; 0: free."""
    ttl_seconds: float | None
    """Seconds until that lease ends without a beat; null: free."""
    timestamp: float
    """Now."""
    device: DeviceInfo
    """The device."""
    holders: list[HolderInfo]
    """Every lease of it, oldest first."""
    waiters: list[WaiterInfo]
    """Who waits in its pool, at most 1000, in the order in which they will be served as things stand."""
    recovering: bool
    """Whether grants pause while leases are reclaimed."""
    health: LockHealth
    """The whole system's health."""
    statistics: LockStatistics
    """The whole system's figures."""
    recent_history: list[LockRecord]
    """The last five ended leases and waits, newest first."""


class Devices(Answer):
    """Every device and its holders."""

    devices: list[DeviceInfo]
    """In the order of the configuration."""
    holders: list[HolderInfo]
    """Every lease, oldest first."""
    waiter_count: int
    """Requests that wait."""
    recovering: bool
    """Whether grants pause while leases are reclaimed."""
    timestamp: float
    """Now."""


class Waiters(Answer):
    """Who waits."""

    waiters: list[WaiterInfo]
    """At most 1000, in the order in which they will be served as things stand."""
    waiter_count: int
    """How many there are."""


class History(Answer):
    """Ended leases and waits."""

    records: list[LockRecord]
    """Newest first."""


class LockSettings(Answer):
    """The settings in force."""

    values: dict[str, Any]
    """By dotted name."""
    version: int
    """Grows with every change."""
    source: str
    """Who changed them last."""


class ForcedRelease(Answer):
    """What a forced release did."""

    success: bool
    """Whether a lease was taken."""
    message: str
    """English text."""
    lock_key: str
    """The lock."""
    task_name: str
    """Who asked, as the request said."""
    revoked: list[str]
    """Requests whose leases were taken; their holders kill their work, and then the next is granted."""
