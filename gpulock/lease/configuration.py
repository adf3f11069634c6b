"""The settings that change at run time: by dotted name, validated as a whole, and as the scripts read them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Self

from pydantic import ValidationError, model_validator

from gpulock.settings import GpuLockMonitorSection, GpuLockSection, GpulockSection
from runtime.errors import FieldViolation, InvalidArgument
from runtime.settings import Section


class LockConfiguration(Section):
    """Both sections together; frozen, so a change makes another one."""

    gpu_lock: GpuLockSection = GpuLockSection()
    """Asking and holding."""
    gpu_lock_monitor: GpuLockMonitorSection = GpuLockMonitorSection()
    """Watching over holders."""

    @model_validator(mode="after")
    def _lease_survives_a_lost_beat(self) -> Self:
        if self.gpu_lock.lock_timeout < 2 * self.gpu_lock_monitor.heartbeat.interval:
            raise ValueError(
                "gpu_lock.lock_timeout must be at least twice gpu_lock_monitor.heartbeat.interval"
            )
        return self

    @property
    def ttl_seconds(self) -> float:
        """Life of a lease after a beat."""
        return min(self.gpu_lock.lock_timeout, self.gpu_lock_monitor.heartbeat.timeout)

    @property
    def beat_seconds(self) -> float:
        """Time between two beats of a holder."""
        return self.gpu_lock_monitor.heartbeat.interval

    def values(self) -> dict[str, str]:
        """Return every setting by its dotted name, as JSON text."""
        return dict(_flat(self.model_dump(mode="json"), ""))

    def changed(self, values: Mapping[str, str]) -> LockConfiguration:
        """Return this configuration with some settings replaced.

        Raises InvalidArgument, naming every fault, when a name is unknown, a text is no JSON, or a value is of another type, out of
        bounds, or does not fit the others.
        """
        tree = self.model_dump(mode="json")
        faults = []
        known = self.values()
        for name, text in values.items():
            if name not in known:
                faults.append(FieldViolation(f"/values/{name}", "there is no such setting"))
                continue
            try:
                _put(tree, name.split("."), json.loads(text))
            except ValueError:
                faults.append(FieldViolation(f"/values/{name}", "is not JSON"))
        if faults:
            raise _refused(faults)
        try:
            return LockConfiguration.model_validate(tree, strict=True)  # `true` is not one second
        except ValidationError as error:
            raise _refused(
                [
                    FieldViolation(_pointer(fault["loc"]), fault["msg"].removeprefix("Value error, "))
                    for fault in error.errors()
                ]
            ) from None

    def for_scripts(
        self, section: GpulockSection, version: int, longest_ttl_seconds: float
    ) -> dict[str, Any]:
        """Return what the Lua scripts read, times in µs. A recovery waits for the longest life that a lease may have been given."""
        levels = self.gpu_lock_monitor.timeout_levels
        window = section.recovery_window_seconds or longest_ttl_seconds + section.lock_delay_seconds + 1.0
        return {
            "version": version,
            "ttl_us": microseconds(self.ttl_seconds),
            "window_us": microseconds(window),
            "lock_delay_us": microseconds(section.lock_delay_seconds),
            "grace_us": microseconds(section.waiter_grace_seconds),
            "boost_us": microseconds(section.priority_boost_seconds),
            "backfill_us": microseconds(section.backfill_seconds),
            "yield_us": microseconds(section.yield_seconds),
            "warn_us": microseconds(levels.warning),
            "soft_us": microseconds(levels.soft_timeout),
            "hard_us": microseconds(levels.hard_timeout),
            "graded": self.gpu_lock_monitor.enabled,
            "auto_recovery": self.gpu_lock_monitor.auto_recovery,
            "max_waiters": section.max_waiters,
            "history": section.history_records,
            "recent": self.gpu_lock_monitor.health_thresholds.recent_window_size,
        }


def microseconds(seconds: float) -> int:
    """Return whole microseconds."""
    return round(seconds * 1_000_000)


def _pointer(place: tuple[int | str, ...]) -> str:
    """Return the JSON pointer of a setting; of all of them, where they contradict each other."""
    return f"/values/{'.'.join(str(part) for part in place)}" if place else "/values"


def _refused(faults: list[FieldViolation]) -> InvalidArgument:
    return InvalidArgument("; ".join(f"{fault.pointer}: {fault.detail}" for fault in faults), fields=faults)


def _flat(tree: Mapping[str, Any], prefix: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name, value in tree.items():
        if isinstance(value, dict):
            found += _flat(value, f"{prefix}{name}.")
        else:
            whole = isinstance(value, float) and value.is_integer()
            found.append((prefix + name, json.dumps(int(value) if whole else value)))
    return found


def _put(tree: dict[str, Any], path: list[str], value: Any) -> None:
    for part in path[:-1]:
        tree = tree[part]
    tree[path[-1]] = value
