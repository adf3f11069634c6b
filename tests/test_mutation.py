"""The faults that `make mutants` tries fit the scripts as they stand, and its tally says what is wrong."""

from __future__ import annotations

import json

import pytest

from tests.mutation import Misplaced, Mutant, load_mutants, tally


@pytest.mark.parametrize("mutant", [*load_mutants("scheduler"), *load_mutants("gpulock")], ids=str)
def test_every_fault_has_its_place(mutant: Mutant) -> None:
    """Its line stands in its script exactly once, and the fault changes it: else the script changed, and the fault must follow."""
    assert mutant.text()


def test_the_tally_names_survivors_and_faults_without_a_place(capsys: pytest.CaptureFixture[str]) -> None:
    """Both make it fail, and neither ends the run."""
    good = load_mutants("scheduler")[0]
    lost = Mutant("scheduler", good.script, "lost", "no script says this", "nor this")
    with pytest.raises(Misplaced, match="0 times"):
        lost.text()
    assert tally([lost, good], lambda mutant: "tests") == 1
    assert tally([good], lambda mutant: "") == 1
    assert tally([good], lambda mutant: "tests") == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("RESULT")]
    first, second, third = (json.loads(line.removeprefix("RESULT ")) for line in lines)
    assert (first["misplaced"], first["noticed_by"]) == ([f"{good.script}: lost"], {"tests": 1})
    assert second["survivors"] == [str(good)]
    assert third == {"noticed_by": {"tests": 1}, "survivors": [], "misplaced": []}
