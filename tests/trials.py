"""`make trials`: every case that a trial of the house by strangers found, as a test, listed by its number.

A test is one of them by its marker: `@pytest.mark.trial("10.13")`, or `trial("10.15", row=7)` where the case is a row of the
table of media cases. A case is passed when it has tests and each of them passed; a skipped test proves nothing. The figures of
the last line are derived: the media cases are counted by row, and what a test measured it says with `record_property` under
the figure's name (`FIGURES`). A figure that nobody measured, or that a failed test called good, is null. Fails when a case or
a figure is not as it must be. Arguments go to pytest (`-k`, paths), for a part of the list.
"""

from __future__ import annotations

import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CASES = tuple(f"10.{number}" for number in range(1, 22))
"""Every numbered case; each must have a test."""
MEDIA = "10.15"
FIGURES: dict[str, int | str] = {
    "restart_dead_letters": 0,
    "ready_without_redis": 0,
    "isolation_breaches": 0,
    "conformance_js": "passed",
}
"""What tests measure, and the value that it must have. Numbers are added up over tests; of words, all must be the same."""


def _figure(value: object) -> int | str:
    """A figure as tests record it, an integer or a word."""
    return value if isinstance(value, int) else str(value)


@dataclass
class Outcome:
    """What became of one test."""

    test: str
    cases: list[tuple[str, int | None]]
    """Numbers of its cases, each with a row of the media table or without."""
    state: str = "not run"
    """`passed`, `failed`, `skipped` or `not run`."""
    measured: dict[str, int | str] = field(default_factory=dict)

    def note(self, report: pytest.TestReport) -> None:
        """Take up what one phase (setup, call, teardown) of the test came to; the worst phase counts."""
        self.measured.update(
            (name, _figure(value)) for name, value in report.user_properties if name in FIGURES
        )
        if report.failed or self.state == "failed":
            self.state = "failed"
        elif report.skipped:
            self.state = "skipped"
        elif report.when == "call":
            self.state = "passed"


class Book:
    """A pytest plugin that writes down how the marked tests end."""

    def __init__(self) -> None:
        self.outcomes: dict[str, Outcome] = {}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in session.items:
            marks = [_case(*mark.args, **mark.kwargs) for mark in item.iter_markers("trial")]
            self.outcomes[item.nodeid] = Outcome(item.nodeid, marks)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.nodeid in self.outcomes:
            self.outcomes[report.nodeid].note(report)


def _case(number: str, row: int | None = None) -> tuple[str, int | None]:
    if number not in CASES or (row is not None) != (number == MEDIA):
        raise pytest.UsageError(
            f"trial({number!r}, row={row}): the number is one of {CASES[0]} to {CASES[-1]}, and exactly "
            f"those of {MEDIA} have a row"
        )
    return number, row


def by_case(outcomes: Iterable[Outcome]) -> dict[tuple[str, int | None], list[Outcome]]:
    """The tests of each case, and of each row of the media table, in order."""
    cases: dict[tuple[str, int | None], list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        for case in outcome.cases:
            cases[case].append(outcome)
    for number in CASES:
        if not any(case[0] == number for case in cases):
            cases[number, None] = []
    return dict(sorted(cases.items(), key=lambda entry: (CASES.index(entry[0][0]), entry[0][1] or 0)))


def verdict(tests: Sequence[Outcome]) -> str:
    """`passed` when there are tests and all passed, `no test`, or the worst of their states."""
    states = {outcome.state for outcome in tests} or {"no test"}
    return next(state for state in ("failed", "not run", "skipped", "no test", "passed") if state in states)


def measured(name: str, outcomes: Iterable[Outcome]) -> int | str | None:
    """One figure over all tests that measured it; None: nobody did, or a failed one calls it good."""
    told = [(outcome.measured[name], outcome.state) for outcome in outcomes if name in outcome.measured]
    if not told or any(value == FIGURES[name] and state != "passed" for value, state in told):
        return None
    values = [value for value, _ in told]
    if isinstance(FIGURES[name], int):
        return sum(int(value) for value in values)
    return next((value for value in values if value != FIGURES[name]), values[0])


def result(outcomes: Sequence[Outcome]) -> dict[str, int | str | None]:
    """What the last line says."""
    rows = [verdict(tests) for (number, row), tests in by_case(outcomes).items() if number == MEDIA and row]
    figures = {name: measured(name, outcomes) for name in FIGURES}
    return {"media_cases_right": rows.count("passed"), "media_cases": len(rows), **figures}


def lines(outcomes: Sequence[Outcome]) -> list[str]:
    """One line for each case: its number, what came of it, and its tests (those that did not pass, by name)."""
    told = []
    for (number, row), tests in by_case(outcomes).items():
        name = number if row is None else f"{number} row {row:>2}"
        passed = sum(outcome.state == "passed" for outcome in tests)
        told.append(f"{name:<13} {verdict(tests):<8} {passed} of {len(tests)} tests")
        told += [
            f"              {outcome.state}: {outcome.test}" for outcome in tests if outcome.state != "passed"
        ]
    return told


def all_well(outcomes: Sequence[Outcome]) -> bool:
    """Whether every case has passed and every figure is what it must be."""
    told = result(outcomes)
    return (
        all(verdict(tests) == "passed" for tests in by_case(outcomes).values())
        and 0 < told["media_cases_right"] == told["media_cases"]  # type: ignore[operator]
        and all(told[name] == must for name, must in FIGURES.items())
    )


def marked_files() -> list[str]:
    """Test files that use the marker: to collect all others would take longer than many a case."""
    marker = re.compile(r"\bmark\.trial\(")
    return sorted(
        str(path) for path in (ROOT / "tests").rglob("test_*.py") if marker.search(path.read_text())
    )


def main(arguments: list[str]) -> int:
    book = Book()
    chosen = (
        [] if any((ROOT / argument.partition("::")[0]).exists() for argument in arguments) else marked_files()
    )
    ended = pytest.main(["-m", "trial and not s3 and not engines", *chosen, *arguments], plugins=[book])
    outcomes = list(book.outcomes.values())
    print("\n".join(lines(outcomes)))
    print("RESULT", json.dumps(result(outcomes), separators=(",", ":")))
    return 0 if ended == pytest.ExitCode.OK and all_well(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
