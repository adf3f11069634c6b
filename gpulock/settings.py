"""Settings of the lock service: what one process needs, and the sections that may change while it runs."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from redislink.address import RedisUrl
from runtime.settings import ProcessSettings, Section

_YEAR = 31_536_000.0
"""Longest time in seconds of a setting that changes at run time: the scripts reckon in µs, exactly up to 2^53."""
_SHORTEST_PERIOD = 0.1
"""Seconds; what recurs more often is a mistake that would keep everybody busy."""
NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$"


class DeviceSection(Section):
    """One device that can be leased."""

    name: str = Field(pattern=NAME)
    """Unique among all pools."""
    pool: str = Field("default", pattern=NAME)
    """Devices of one pool are interchangeable to a request that names none."""
    memory_mib: int = Field(gt=0, le=16 * 1024 * 1024)
    """Memory that can be leased, in MiB: what the device has, less what the driver and the desktop need."""
    visible: str = Field("", max_length=128)
    """What a process's visible-device variable is set to, for example `0` or `GPU-5f2c…`; empty: the name."""
    host: str = Field("", max_length=253)
    """Host of the device: clients on other hosts are not granted it; empty: any."""


class GpulockSection(Section):
    """The lock service's own settings."""

    redis_url: RedisUrl = SecretStr("redis://127.0.0.1:6379/2")
    """`redis://`, `rediss://` or `unix://`; may carry a password. Redis 7 or later. Or the sentinels that know which Redis is the
    primary: `redis+sentinel://:password@host:26379,host:26379/name/2?sentinel_password=…` (`rediss+sentinel://`: TLS to all)."""
    key_prefix: str = Field("{gpulock}:", pattern=r"^[A-Za-z0-9_:.-]*\{[A-Za-z0-9_.-]+\}[A-Za-z0-9_:.-]*:$")
    """Begins every key; the braces keep all keys in one Redis Cluster slot, which the scripts need."""
    redis_retry_seconds: float = Field(5.0, gt=0)
    """How long a call waits for Redis before it is answered UNAVAILABLE."""
    devices: tuple[DeviceSection, ...] = ()
    """What can be leased; the same in all replicas."""
    initial_state: Literal["existing", "new"] = "existing"
    """What a store without any record means to a replica that has just started. `existing`: it lost its memory, so leases are
    reclaimed before anything is granted. `new`: nothing runs yet, grant at once; for whoever starts store and nodes together."""
    lock_delay_seconds: float = Field(5.0, ge=0, le=600)
    """How long after a lost lease would have run out its memory stays in quarantine when its holder does not confirm."""
    recovery_window_seconds: float = Field(0.0, ge=0, le=7200)
    """How long leases can be reclaimed after the store was restarted; nothing is granted meanwhile. 0: as long as a lease can live
    without a beat, the lock delay and a second."""
    waiter_grace_seconds: float = Field(15.0, ge=0, le=600)
    """How long a waiter keeps its place after its stream is gone."""
    priority_boost_seconds: float = Field(60.0, gt=0)
    """A level of priority is worth this much waiting: the time for which a waiter can be passed for each level it lacks."""
    backfill_seconds: float = Field(30.0, ge=0)
    """How long smaller requests may pass a large one that does not fit, from the first that does."""
    yield_seconds: float = Field(30.0, gt=0, le=3600)
    """Time that the holder of a preemptible lease has to give it back before it is revoked."""
    max_waiters: int = Field(10_000, ge=1, le=100_000)
    """Waiters of one pool; the next is refused."""
    history_records: int = Field(1000, ge=1, le=10_000)
    """Ended waits and leases that are kept for all pools together."""
    max_sessions: int = Field(4096, ge=1)
    """Streams of one replica."""
    session_buffer_messages: int = Field(1024, ge=16)
    """Messages kept for a client that does not read; past it its stream is ended."""
    position_seconds: float = Field(0.5, gt=0)
    """Least time between two positions told to one waiter."""
    replica_ttl_seconds: float = Field(15.0, gt=0)
    """A replica that has not swept for this long is dead, and its waiters must attach to another; three sweeps."""
    clock_slack_seconds: float = Field(1.0, gt=0)
    """Steps of Redis's clock up to this are taken for time that passed."""
    watch_heartbeat_seconds: float = Field(15.0, gt=0)
    """A watcher hears something at least this often."""
    file_check_seconds: float = Field(2.0, gt=0)
    """Period at which the settings file is looked at."""

    @field_validator("devices")
    @classmethod
    def _named_once(cls, devices: tuple[DeviceSection, ...]) -> tuple[DeviceSection, ...]:
        names = [device.name for device in devices]
        if len(set(names)) < len(names):
            raise ValueError("two devices have one name")
        return devices

    @property
    def pools(self) -> tuple[str, ...]:
        """Pools that have devices, in the order of their first device."""
        return tuple(dict.fromkeys(device.pool for device in self.devices))


class GpuLockSection(Section):
    """Asking and holding: the names and defaults of the first system."""

    poll_interval: float = Field(0.5, gt=0, le=_YEAR)
    """Accepted and without effect, as `exponential_backoff`, `max_poll_interval`, `use_event_driven` and `fallback_timeout` are:
    grants are pushed, nothing polls."""
    max_wait_time: float = Field(300.0, gt=0, le=_YEAR)
    """Longest wait in seconds of a request that sets none."""
    lock_timeout: float = Field(600.0, gt=0, le=_YEAR)
    """Life of a lease in seconds after a beat; `gpu_lock_monitor.heartbeat.timeout` ends it sooner where that is less."""
    exponential_backoff: bool = True
    """See `poll_interval`."""
    max_poll_interval: float = Field(5.0, gt=0, le=_YEAR)
    """See `poll_interval`."""
    use_event_driven: bool = True
    """See `poll_interval`."""
    fallback_timeout: float = Field(30.0, gt=0, le=_YEAR)
    """See `poll_interval`."""


class TimeoutLevelsSection(Section):
    """Seconds from the grant at which a holder hears from the watcher."""

    warning: float = Field(1800.0, gt=0, le=_YEAR)
    """Warned: log, metric, event."""
    soft_timeout: float = Field(3600.0, gt=0, le=_YEAR)
    """Asked to stop."""
    hard_timeout: float = Field(7200.0, gt=0, le=_YEAR)
    """Revoked."""

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if not self.warning < self.soft_timeout < self.hard_timeout:
            raise ValueError("warning, soft_timeout and hard_timeout must rise")
        return self


class HeartbeatSection(Section):
    """Beats of holders."""

    interval: float = Field(60.0, ge=_SHORTEST_PERIOD, le=_YEAR)
    """Seconds between two beats."""
    timeout: float = Field(300.0, gt=0, le=_YEAR)
    """Seconds without a beat after which the lease is revoked."""

    @model_validator(mode="after")
    def _survives_a_lost_beat(self) -> Self:
        if self.timeout < 2 * self.interval:
            raise ValueError("timeout must be at least twice the interval")
        return self


class CleanupSection(Section):
    """Accepted and without effect: a revocation is one atomic step and needs no second try."""

    max_retry: int = Field(3, ge=0)
    """See the section."""
    retry_delay: float = Field(60.0, ge=0, le=_YEAR)
    """See the section."""


class HealthThresholdsSection(Section):
    """What the health rules hold figures against."""

    min_success_rate: float = Field(0.8, ge=0, le=1)
    """Granted requests among ended waits."""
    max_timeout_rate: float = Field(0.2, ge=0, le=1)
    """Waits that ended without a grant in time, among ended waits."""
    max_lock_age: float = Field(3600.0, gt=0, le=_YEAR)
    """Age in seconds of a lease under which work runs."""
    recent_window_size: int = Field(20, ge=1, le=1000)
    """Ended waits that the recent success rate looks at."""


class GpuLockMonitorSection(Section):
    """Watching over holders: the names and defaults of the first system."""

    monitor_interval: float = Field(30.0, ge=_SHORTEST_PERIOD, le=_YEAR)
    """Longest time in seconds between two checks; the service looks at every deadline when it is due, and a third of
    `gpulock.replica_ttl_seconds` after the last look at the latest."""
    timeout_levels: TimeoutLevelsSection = TimeoutLevelsSection()
    """Graded timeouts."""
    heartbeat: HeartbeatSection = HeartbeatSection()
    """Beats."""
    cleanup: CleanupSection = CleanupSection()
    """Without effect."""
    enabled: bool = True
    """Whether graded timeouts apply. A lease without beats ends either way."""
    auto_recovery: bool = True
    """Whether a revoked lease's memory is granted again once its holder must have ended; else an operator releases it."""
    health_thresholds: HealthThresholdsSection = HealthThresholdsSection()
    """Health rules."""


class GpulockSettings(ProcessSettings):
    """The lock service's process."""

    gpulock: GpulockSection = GpulockSection()
    """The process's own settings."""
    gpu_lock: GpuLockSection = GpuLockSection()
    """Asking and holding; changes at run time."""
    gpu_lock_monitor: GpuLockMonitorSection = GpuLockMonitorSection()
    """Watching over holders; changes at run time."""
