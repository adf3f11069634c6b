"""What `make trials` says follows from its tests' ends and from nothing else."""

from __future__ import annotations

import pytest

from tests.trials import CASES, FIGURES, MEDIA, Outcome, all_well, by_case, lines, result, verdict


def everything(**changes: Outcome) -> list[Outcome]:
    """A run in which every case passed, with some outcomes replaced by their test's name."""
    outcomes = [Outcome(f"case{number}", [(number, None)], "passed") for number in CASES if number != MEDIA]
    outcomes += [Outcome(f"row{row}", [(MEDIA, row)], "passed") for row in (1, 2)]
    outcomes += [Outcome(name, [("10.1", None)], "passed", {name: must}) for name, must in FIGURES.items()]
    return [changes.get(outcome.test, outcome) for outcome in outcomes]


def test_a_run_in_which_all_passed_is_well() -> None:
    """All cases passed and all figures as they must be: rows are counted and the figures are the measured ones."""
    told = everything()
    assert all_well(told)
    assert result(told) == {"media_cases_right": 2, "media_cases": 2, **FIGURES}


@pytest.mark.parametrize("state", ["failed", "skipped", "not run"])
def test_a_test_that_did_not_pass_makes_its_case_not_passed(state: str) -> None:
    """A failed, skipped or unrun test of a case is named, its row is not right, and the run is not well."""
    told = everything(row2=Outcome("row2", [(MEDIA, 2)], state))
    assert not all_well(told)
    assert (result(told)["media_cases_right"], result(told)["media_cases"]) == (1, 2)
    assert f"              {state}: row2" in lines(told)


def test_a_case_without_a_test_is_listed() -> None:
    """A number that no test bears is listed as `no test`, and the run is not well."""
    told = [outcome for outcome in everything() if outcome.test != "case10.7"]
    assert verdict(by_case(told)["10.7", None]) == "no test"
    assert not all_well(told)


@pytest.mark.parametrize(
    ("outcome", "value"),
    [
        (Outcome("isolation_breaches", [("10.13", None)], "failed", {"isolation_breaches": 3}), 3),
        (Outcome("isolation_breaches", [("10.13", None)], "failed", {"isolation_breaches": 0}), None),
        (Outcome("isolation_breaches", [("10.13", None)], "passed"), None),
    ],
)
def test_a_figure_is_what_was_measured(outcome: Outcome, value: int | None) -> None:
    """A figure is the tests' own; null where none was measured or where a failed test calls it good."""
    told = everything(isolation_breaches=outcome)
    assert result(told)["isolation_breaches"] == value
    assert not all_well(told)


def test_a_word_is_passed_only_when_all_say_so() -> None:
    """One of two conformance runs that did not pass is what the last line says."""
    told = [*everything(), Outcome("other", [("10.16", None)], "failed", {"conformance_js": "3 laws broken"})]
    assert result(told)["conformance_js"] == "3 laws broken"
