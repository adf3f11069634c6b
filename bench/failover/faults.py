"""What befalls the primary of a group of Redis servers; each gives the moment from which clients could notice it."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

from bench.redis_group import Member, RedisGroup

_BROKEN_SECONDS = 0.5
_AWAY_SECONDS = 1.0
"""How long a killed server stays away after its successor was named, and how long a frozen one sleeps on."""


def _after(group: RedisGroup, before: Member) -> None:
    group.wait_for_failover(before)
    time.sleep(_AWAY_SECONDS)


def kill(group: RedisGroup) -> float:
    """SIGKILL; a supervisor starts it again a second after the failover."""
    before = group.primary()
    began = time.monotonic()
    before.kill()
    _after(group, before)
    group.restart(before)
    return began


def kill_behind(group: RedisGroup) -> float:
    """The same, half a second after the link to the replica broke: what it has missed by then is in the primary alone."""
    before = group.primary()
    (replica,) = (one for one in group.servers if one is not before)
    replica.signal(signal.SIGSTOP)  # it would connect again at once
    with group.client(before) as client:
        client.client_kill_filter(_type="replica")
    time.sleep(_BROKEN_SECONDS)
    began = time.monotonic()
    before.kill()
    replica.signal(signal.SIGCONT)
    _after(group, before)
    group.restart(before)
    return began


def order(group: RedisGroup) -> float:
    """SENTINEL FAILOVER, as before maintenance."""
    before = group.primary()
    began = time.monotonic()
    with group.client(group.sentinels[0]) as sentinel:
        sentinel.execute_command("SENTINEL", "FAILOVER", "tasks")
    group.wait_for_failover(before)
    return began


def freeze(group: RedisGroup) -> float:
    """SIGSTOP; it goes on a second after its successor was named, and believes itself the primary until it is told otherwise."""
    before = group.primary()
    began = time.monotonic()
    before.signal(signal.SIGSTOP)
    _after(group, before)
    before.signal(signal.SIGCONT)
    return began


FAULTS: dict[str, Callable[[RedisGroup], float]] = {
    "killed": kill,
    "killed, its replica 0.5 s behind": kill_behind,
    "failed over by order": order,
    "frozen": freeze,
}
