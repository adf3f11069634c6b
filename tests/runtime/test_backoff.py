"""Laws of the pauses between attempts."""

from __future__ import annotations

from runtime.backoff import Backoff


def test_pauses_double_up_to_the_longest_and_begin_anew_after_a_success() -> None:
    """So a service that is away is not pressed, and one that came back is found at once when it goes again."""
    backoff = Backoff(0.1, 0.5)
    assert [backoff.take() for _ in range(5)] == [0.1, 0.2, 0.4, 0.5, 0.5]
    backoff.reset()
    assert backoff.next_seconds == 0.1
    assert backoff.take() == 0.1
