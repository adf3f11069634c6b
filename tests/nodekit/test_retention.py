"""Laws of keeping ended attempts, with a clock of the test's own."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from nodekit.attempt.retention import Retention


@dataclass
class End:
    task_id: str


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_unread_is_kept_long_and_read_briefly(clock: Clock) -> None:
    """An end that nobody has read is kept its whole time; one that was read only a minute more."""
    kept: Retention[End] = Retention(600, clock)
    kept.keep(End("read"), read=False)
    kept.keep(End("unread"), read=False)
    kept.keep(End("read"), read=True)
    assert [end.task_id for end in kept.unread()] == ["unread"]
    clock.now = 61
    assert kept.find("read") is None
    assert kept.find("unread") == End("unread")
    clock.now = 601
    assert kept.find("unread") is None


def test_number_is_bounded(clock: Clock) -> None:
    """When there are too many, those that were read go first, and the newest stay."""
    kept: Retention[End] = Retention(600, clock, max_kept=3)
    for name in ("r1", "r2"):
        kept.keep(End(name), read=True)
    for name in ("u1", "u2"):
        kept.keep(End(name), read=False)
    assert [name for name in ("r1", "r2", "u1", "u2") if kept.find(name)] == ["r2", "u1", "u2"]
    for name in ("u3", "u4", "u5"):
        kept.keep(End(name), read=False)
    assert [end.task_id for end in kept.unread()] == ["u3", "u4", "u5"]


def test_dropped_is_gone(clock: Clock) -> None:
    """A newer attempt's start forgets the older one's end."""
    kept: Retention[End] = Retention(600, clock)
    kept.keep(End("t"), read=False)
    kept.drop("t")
    assert kept.find("t") is None
