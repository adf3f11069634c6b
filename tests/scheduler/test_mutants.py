"""The faults that `make mutants` tries fit the scripts as they stand."""

from __future__ import annotations

import pytest

from tests.scheduler.mutants import Mutant, load_mutants


@pytest.mark.parametrize("mutant", load_mutants(), ids=lambda mutant: f"{mutant.script}: {mutant.name}")
def test_every_fault_has_its_place(mutant: Mutant) -> None:
    """Its line stands in its script exactly once, and the fault changes it: else the script changed, and the fault must follow."""
    assert mutant.line != mutant.faulty
    assert mutant.text()
