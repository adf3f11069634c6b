"""How long a node is waited for, by an injected clock, and who counts as refusing, on real sockets."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from scheduler.run.connect_probe import refuses
from scheduler.run.node_loss import NodeLossTimer
from scheduler.settings import SchedulerSection

SETTINGS = SchedulerSection(lost_seconds=45, refused_seconds=5)


class Probe:
    """A clock and a connect probe in the test's hand."""

    def __init__(self) -> None:
        self.now = 100.0
        self.refusing = False

    async def refuses(self) -> bool:
        return self.refusing

    def timer(self, since: float | None = None) -> NodeLossTimer:
        return NodeLossTimer(SETTINGS, self.refuses, lambda: self.now, since)

    async def over(self, timer: NodeLossTimer, at: float) -> bool:
        self.now = at
        return await timer.is_over()


async def test_a_silent_node_gets_the_whole_wait() -> None:
    """From the break on, whatever is tried meanwhile."""
    probe = Probe()
    timer = probe.timer()
    assert timer.start() and not timer.start()
    assert not await probe.over(timer, 144.9)
    assert await probe.over(timer, 145.0)


async def test_a_node_that_refuses_gets_the_short_wait() -> None:
    """From the first refusal on, when every one after it was a refusal too."""
    probe = Probe()
    timer = probe.timer()
    timer.start()
    probe.refusing = True
    assert not await probe.over(timer, 101.0)
    assert not await probe.over(timer, 105.9)
    probe.refusing = False
    assert not await probe.over(timer, 106.5)
    probe.refusing = True
    assert not await probe.over(timer, 107.0)
    assert not await probe.over(timer, 111.9)
    assert await probe.over(timer, 112.0)


async def test_a_message_of_the_node_ends_the_wait() -> None:
    """What follows is a wait of its own."""
    probe = Probe()
    timer = probe.timer()
    timer.start()
    probe.refusing = True
    assert not await probe.over(timer, 104.0)
    timer.reset()
    probe.now = 140.0
    assert timer.left_seconds == 45 and timer.start()
    assert not await probe.over(timer, 144.9)
    assert await probe.over(timer, 149.0 + 0.9)


async def test_an_adoption_does_not_begin_the_wait_anew() -> None:
    """It counts from the time at which the node became silent; a node that may speak again later is no reason to wait less."""
    probe = Probe()
    assert not await probe.over(probe.timer(since=70.0), 114.9)
    probe.now = 114.9
    assert await probe.over(probe.timer(since=70.0), 115.0)
    probe.now = 100.0
    later = probe.timer(since=108.0)
    assert later.left_seconds == 45


async def test_only_a_refusal_counts_as_one(tmp_path: Path) -> None:
    """A port or a socket with nobody at it does; who listens and never answers does not, nor what leads nowhere."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        assert not await refuses(address)
    assert await refuses(address)
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(path))
        unix.listen()
        assert not await refuses(f"unix:{path}")
    assert await refuses(f"unix:{path}")
    for odd in (f"unix:{tmp_path}/none", "name.invalid:80", "no address"):
        assert not await refuses(odd)


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
async def test_refusals_of_ipv6_addresses_count() -> None:
    """The brackets of an IPv6 address are no part of it."""
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as silent:
        address = f"[::1]:{silent.getsockname()[1]}"
        assert not await refuses(address)
    assert await refuses(address)
