"""Laws of the rest that a path past the filestore has after a failure."""

from __future__ import annotations

from gateway.clients.cooldown import Cooldown


def test_a_path_that_failed_is_left_alone_for_a_while() -> None:
    """It may be tried at first, not for its time after each failure, and again afterwards."""
    now = 1000.0
    cooldown = Cooldown(30.0, clock=lambda: now)
    seen = [cooldown.active]
    cooldown.start()
    now += 29.9
    seen.append(cooldown.active)
    cooldown.start()
    for seconds in (29.9, 0.2):
        now += seconds
        seen.append(cooldown.active)
    assert seen == [False, True, True, False]
