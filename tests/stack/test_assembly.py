"""What the embedded stack is made of."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.section_names import CONFIG_VARIABLE
from stack.assembly import Stack
from stack.settings import StackSection


def test_leases_have_a_redis_of_their_own_unless_one_is_to_keep_all(tmp_path: Path) -> None:
    """By default the store that waits for the disk is not the one that hands devices over; one for both stays possible."""
    two = Stack(StackSection(folder=tmp_path))
    assert two.lease_redis != two.redis
    one = Stack(StackSection(folder=tmp_path, lease_redis=False))
    assert one.lease_redis == one.redis


def test_beats_that_are_set_are_the_beats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stack's short silences stand in for the lock service's long ones, never for those that somebody has set."""
    stack = Stack(StackSection(folder=tmp_path))
    (part,) = stack._gpulock_parts()
    assert part.environment["YIVIDEO_GPU_LOCK_MONITOR__HEARTBEAT__TIMEOUT"] == "20"
    config = tmp_path / "yivideo.yml"
    config.write_text("gpu_lock_monitor: {heartbeat: {interval: 3, timeout: 9}}")
    monkeypatch.setenv(CONFIG_VARIABLE, str(config))
    (part,) = stack._gpulock_parts()
    assert not [name for name in part.environment if "HEARTBEAT" in name or "WINDOW" in name]
