"""Laws of what is remembered of a way past the filestore."""

from __future__ import annotations

from gateway.clients.detour import Detour


def test_a_way_that_leads_nowhere_is_left_alone_for_a_while() -> None:
    """It is open at first, closed for its time after each failure, and open again afterwards."""
    now = 1000.0
    detour = Detour(30.0, clock=lambda: now)
    assert detour.is_open
    detour.close()
    now += 29.9
    assert not detour.is_open
    detour.close()
    now += 29.9
    assert not detour.is_open
    now += 0.2
    assert detour.is_open
