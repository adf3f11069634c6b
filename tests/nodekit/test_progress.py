"""Laws of progress coalescing, with a clock of the test's own."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from nodekit.attempt.progress import ProgressReporter
from yivideo.task.v1 import task_pb2


class Clock:
    """Time that moves when told, and the calls that wait for it."""

    def __init__(self) -> None:
        self.now = 100.0
        self._calls: list[tuple[float, Callable[[], None], _Timer]] = []

    def call_later(self, seconds: float, call: Callable[[], None]) -> _Timer:
        timer = _Timer()
        self._calls.append((self.now + seconds, call, timer))
        return timer

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while due := [entry for entry in self._calls if entry[0] <= end]:
            entry = min(due, key=lambda one: one[0])
            self._calls.remove(entry)
            self.now = max(self.now, entry[0])
            if not entry[2].cancelled:
                entry[1]()
        self.now = end


class _Timer:
    cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sent() -> list[task_pb2.Progress]:
    return []


@pytest.fixture
def reporter(clock: Clock, sent: list[task_pb2.Progress]) -> ProgressReporter:
    return ProgressReporter(sent.append, clock=lambda: clock.now, call_later=clock.call_later)


def test_at_most_four_a_second(
    clock: Clock, sent: list[task_pb2.Progress], reporter: ProgressReporter
) -> None:
    """A thousand reports in ten seconds give at most 41 events, and the last value arrives by itself."""
    for number in range(1000):
        reporter.report(number / 10, "decode", "", None)
        clock.advance(0.01)
    clock.advance(1)
    assert 35 <= len(sent) <= 41
    assert sent[-1].percent == pytest.approx(99.9)


def test_first_report_is_immediate(sent: list[task_pb2.Progress], reporter: ProgressReporter) -> None:
    """The first report does not wait."""
    reporter.report(1, "decode", "", None)
    assert [one.percent for one in sent] == [1]


def test_percent_never_falls_and_stays_in_range(
    clock: Clock, sent: list[task_pb2.Progress], reporter: ProgressReporter
) -> None:
    """Whatever a task reports, percent is 0 to 100 and never falls."""
    for value in (-5, 40, 20, float("nan"), 70, 1000, 3):
        reporter.report(value, "", "", None)
        clock.advance(1)
    assert [one.percent for one in sent] == [0, 40, 40, 40, 70, 100, 100]


def test_flush_sends_what_waits_once(
    clock: Clock, sent: list[task_pb2.Progress], reporter: ProgressReporter
) -> None:
    """The last report before the end is delivered at the end, and not again by its timer."""
    reporter.report(1, "a", "", None)
    reporter.report(2, "b", "", None)
    reporter.flush()
    clock.advance(5)
    assert [(one.percent, one.stage) for one in sent] == [(1, "a"), (2, "b")]


def test_texts_and_data_are_bounded(sent: list[task_pb2.Progress], reporter: ProgressReporter) -> None:
    """Long texts are cut by bytes at a character's edge; figures that do not fit are left out."""
    reporter.report(1, "s", "ß" * 1000, {"big": "x" * 5000})
    assert len(sent[0].message.encode()) <= 500
    assert not sent[0].HasField("data")
    reporter.report(2, "s", "", {"bad": float("nan")})
    reporter.flush()
    assert not sent[1].HasField("data")
    reporter.report(3, "s", "", {"frames": 12})
    reporter.flush()
    assert sent[2].data.fields["frames"].number_value == 12
