"""Are the tests of leases worth something? One-line faults (`mutants.toml`) are put into the scripts; each must be noticed.

`python -m tests.gpulock.mutants` runs the laws, and where they see nothing the tripwire, the turns and the state machine, in a copy
of the tree that has the fault. What nothing notices is named, and the exit status is 1. `--only WORD` takes the mutants with the
message.
"""

from __future__ import annotations

import argparse
import os
import sys

from tests.mutation import Mutant, load_mutants, tally, tests_notice

LAWS = (
    "test_lessor_order.py",
    "test_lessor_requests.py",
    "test_lessor_leases.py",
    "test_lessor_clocks.py",
    "test_lessor_recovery.py",
    "test_warm.py",
)
HISTORIES = ("test_tripwire.py", "test_turns.py", "test_lessor_machine.py")
ENVIRONMENT = {**os.environ, "LEASE_EXAMPLES": "60", "LEASE_SHRINK": "no"}


def who_notices(mutant: Mutant) -> str:
    """Return which tests see the fault; empty when none do."""
    for who, tests in (("laws", LAWS), ("histories", HISTORIES)):
        if tests_notice(mutant, tests, ENVIRONMENT):
            return who
    return ""


def main() -> int:
    """Try every mutant; 0 when each was noticed."""
    parser = argparse.ArgumentParser(prog="python -m tests.gpulock.mutants")
    parser.add_argument("--only", default="")
    given = parser.parse_args()
    return tally([mutant for mutant in load_mutants("gpulock") if given.only in str(mutant)], who_notices)


if __name__ == "__main__":
    sys.exit(main())
