"""The judge of the lock service's chaos run sees each violation, and none where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.gpulock_chaos.journal import END, PUBLISH, START, TICK, Journal, Line, read
from bench.gpulock_chaos.judge import GOOD_ENDS, judge, uses

MS = 1_000_000


def use(
    task: str, token: int, begin: int, end: int, device: str = "gpu-0", *, publishes: bool = True
) -> list[Line]:
    """Lines of one use, in milliseconds, with a tick each 10 ms."""
    lines = [Line(begin * MS, START, device, token, task)]
    lines += [Line(time * MS, TICK, device, token, task) for time in range(begin + 10, end, 10)]
    lines.append(Line(end * MS, END, device, token, task))
    if publishes:
        lines.append(Line(end * MS + 1, PUBLISH, device, token, task))
    return lines


def verdict(
    *lists: list[Line], ends: dict[str, str] | None = None, left: tuple[str, ...] = ()
) -> dict[str, int]:
    """Judge lines in the order of their times."""
    lines = sorted((line for lines in lists for line in lines), key=lambda line: line.time)
    return judge(lines, ends or {}, left).counts()


GOOD = {"double_holders": 0, "lost_waiters": 0, "stale_results_accepted": 0, "leaked_leases": 0}


def test_turns_are_good() -> None:
    """Uses one after the other, and side by side on two devices, break nothing."""
    found = verdict(
        use("a", 1, 0, 100), use("b", 5, 101, 200), use("c", 2, 50, 150, "gpu-1"), ends={"a": "completed"}
    )
    assert found == GOOD


def test_two_on_one_device() -> None:
    """A use that begins before the last sign of another is seen, however short; also behind a third one in between."""
    assert verdict(use("a", 1, 0, 100), use("b", 2, 99, 200))["double_holders"] == 1
    assert verdict(use("a", 1, 0, 500), use("b", 2, 100, 110), use("c", 3, 120, 130))["double_holders"] == 2


def test_a_frozen_holder_that_goes_on() -> None:
    """A holder that wrote nothing while another held, and then writes again, used the device beside it."""
    frozen = [Line(0, START, "gpu-0", 1, "a"), Line(900 * MS, TICK, "gpu-0", 1, "a")]
    assert verdict(frozen, use("b", 2, 300, 400))["double_holders"] == 1
    killed = frozen[:1]
    assert verdict(killed, use("b", 2, 300, 400)) == GOOD


def test_tokens_that_go_back() -> None:
    """A use under an older token than an earlier one's, or under the same, is a broken fence."""
    assert verdict(use("a", 7, 0, 100), use("b", 6, 200, 300))["double_holders"] == 1
    assert verdict(use("a", 7, 0, 100), use("b", 7, 200, 300))["double_holders"] == 1


def test_a_stale_result() -> None:
    """A result accepted after a newer holder began is stale; refused, or before that, it is not."""
    late = Line(250 * MS, PUBLISH, "gpu-0", 1, "a")
    quiet = use("a", 1, 0, 100, publishes=False)
    assert verdict(quiet, [late], use("b", 2, 200, 300))["stale_results_accepted"] == 1
    refused = Line(250 * MS, PUBLISH, "gpu-0", 1, "a", accepted=False)
    assert verdict(quiet, [refused], use("b", 2, 200, 300)) == GOOD
    assert verdict(quiet, [late], use("b", 2, 260, 300)) == GOOD


@pytest.mark.parametrize(
    "end", ["", "GPU_LOCK_TIMEOUT", "GPU_LOCK_UNAVAILABLE", "INTERNAL", "the stream ended early"]
)
def test_a_lost_waiter(end: str) -> None:
    """A request that has not ended, or ended as if it had been forgotten, is lost."""
    assert verdict(ends={"a": end, "b": "completed"})["lost_waiters"] == 1
    assert all(verdict(ends={"a": good}) == GOOD for good in GOOD_ENDS)


def test_a_leaked_lease() -> None:
    """Whatever the service holds when everything has ended is leaked."""
    assert verdict(left=("HOLDER_STATE_HELD a token 1",))["leaked_leases"] == 1


def test_journals_are_read_up_to_where_their_writer_was_killed(tmp_path: Path) -> None:
    """Lines of several writers come by time; a torn last line is left out."""
    for task, token in (("a", 1), ("b", 2)):
        journal = Journal(tmp_path / f"{task}.journal", "gpu-0", token, task)
        journal.write(START)
        journal.write(TICK)
    with (tmp_path / "b.journal").open("ab") as torn:
        torn.write(b'{"time": 1, "ki')
    lines = read(tmp_path)
    assert [(line.task, line.kind) for line in lines] == [
        ("a", START),
        ("a", TICK),
        ("b", START),
        ("b", TICK),
    ]
    assert [each.task for each in uses(lines)] == ["a", "b"]
