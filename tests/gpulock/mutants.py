"""Are the tests of leases worth something? One-line faults (`mutants.toml`) are put into the scripts; each must be noticed.

`python -m tests.gpulock.mutants` runs the laws, and where they see nothing the turns and the state machine, in a copy of the tree
that has the fault. What nothing notices is named, and the exit status is 1. `--only WORD` takes the mutants with the word.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LUA = ROOT / "gpulock" / "lua"
FAULTS = Path(__file__).with_suffix(".toml")
LAWS = ("test_lessor.py", "test_warm.py")
HISTORIES = ("test_turns.py", "test_lessor_machine.py")
EXAMPLES = "60"


@dataclass(frozen=True)
class Mutant:
    """One faulty line."""

    script: str
    name: str
    line: str
    faulty: str

    def text(self) -> str:
        """The script's text with the fault."""
        text = (LUA / f"{self.script}.lua").read_text()
        assert text.count(self.line) == 1, (
            f"{self.script}: {self.name}: the line stands there {text.count(self.line)} times"
        )
        return text.replace(self.line, self.faulty)


def load_mutants() -> list[Mutant]:
    """Return the faults of `mutants.toml`."""
    return [Mutant(**told) for told in tomllib.loads(FAULTS.read_text())["mutant"]]


def notice(mutant: Mutant, tests: tuple[str, ...]) -> bool:
    """Whether a test fails with the fault."""
    with tempfile.TemporaryDirectory(prefix="yivideo-mutant-") as folder:
        for entry in ROOT.iterdir():
            if entry.name != "gpulock" and not entry.name.startswith("."):
                (Path(folder) / entry.name).symlink_to(entry)
        shutil.copytree(ROOT / "gpulock", Path(folder) / "gpulock")
        (Path(folder) / "gpulock" / "lua" / f"{mutant.script}.lua").write_text(mutant.text())
        paths = [f"tests/gpulock/{name}" for name in tests]
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-m", "", "-p", "no:cacheprovider", *paths]
        environment = {**os.environ, "LEASE_EXAMPLES": EXAMPLES, "LEASE_SHRINK": "no"}
        ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)
        return ended.returncode == 1


def main() -> int:
    """Try every mutant; 0 when each was noticed."""
    parser = argparse.ArgumentParser(prog="python -m tests.gpulock.mutants")
    parser.add_argument("--only", default="")
    given = parser.parse_args()
    wanted = [mutant for mutant in load_mutants() if given.only in f"{mutant.script}: {mutant.name}"]
    by: dict[str, int] = {"laws": 0, "histories": 0}
    survivors = []
    for mutant in wanted:
        began = time.monotonic()
        judge = next((n for n, t in (("laws", LAWS), ("histories", HISTORIES)) if notice(mutant, t)), "")
        if judge:
            by[judge] += 1
        else:
            survivors.append(f"{mutant.script}: {mutant.name}")
        seconds = time.monotonic() - began
        print(f"{judge or 'NOTHING':9} {seconds:5.1f} s  {mutant.script}: {mutant.name}", flush=True)
    print("RESULT", json.dumps({"mutants": len(wanted), **by, "survivors": survivors}))
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
