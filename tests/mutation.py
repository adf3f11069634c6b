"""One-line faults in Lua scripts: reading them, trees that have one, and the tally of who notices. Rooms say how they look.

A fault that does not fit its script any more is named like one that nobody notices: the script changed, and the fault must follow.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


class Misplaced(Exception):
    """The line that a fault replaces does not stand in its script exactly once."""


@dataclass(frozen=True)
class Mutant:
    """One faulty line in a script of one room."""

    room: str
    script: str
    name: str
    line: str
    faulty: str

    def __str__(self) -> str:
        return f"{self.script}: {self.name}"

    def text(self) -> str:
        """The script's text with the fault. Raises Misplaced."""
        text = (ROOT / self.room / "lua" / f"{self.script}.lua").read_text()
        if text.count(self.line) != 1 or self.line == self.faulty:
            raise Misplaced(f"{self}: the line stands there {text.count(self.line)} times")
        return text.replace(self.line, self.faulty)


def load_mutants(room: str) -> list[Mutant]:
    """Return the faults of a room's `mutants.toml`."""
    told = tomllib.loads((ROOT / "tests" / room / "mutants.toml").read_text())
    return [Mutant(room, **fault) for fault in told["mutant"]]


def tests_notice(mutant: Mutant, tests: Iterable[str], environment: Mapping[str, str] | None = None) -> bool:
    """Whether a test of the room fails in a copy of the tree that has the fault."""
    with tempfile.TemporaryDirectory(prefix="yivideo-mutant-") as folder:
        for entry in ROOT.iterdir():
            if entry.name != mutant.room and not entry.name.startswith("."):
                (Path(folder) / entry.name).symlink_to(entry)
        shutil.copytree(ROOT / mutant.room, Path(folder) / mutant.room)
        (Path(folder) / mutant.room / "lua" / f"{mutant.script}.lua").write_text(mutant.text())
        paths = [f"tests/{mutant.room}/{name}" for name in tests]
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-m", "", "-p", "no:cacheprovider", *paths]
        ended = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
    assert ended.returncode in (0, 1), ended.stdout + ended.stderr
    return ended.returncode == 1


def tally(mutants: Iterable[Mutant], who_notices: Callable[[Mutant], str]) -> int:
    """Try the mutants, print who noticed each and a last line `RESULT {json}`; 0 when all fit and each was noticed.

    `who_notices` gives a word for the first that does, empty when nobody does.
    """
    count: Counter[str] = Counter()
    survivors, misplaced = [], []
    for mutant in mutants:
        began = time.monotonic()
        try:
            mutant.text()
        except Misplaced as error:
            misplaced.append(str(mutant))
            print(f"MISPLACED         {error}", flush=True)
            continue
        who = who_notices(mutant)
        count[who] += 1
        if not who:
            survivors.append(str(mutant))
        print(f"{who or 'NOBODY':9} {time.monotonic() - began:5.1f} s  {mutant}", flush=True)
    noticed = {who: number for who, number in count.items() if who}
    result = {"noticed_by": noticed, "survivors": survivors, "misplaced": misplaced}
    print("RESULT " + json.dumps(result))
    return 1 if survivors or misplaced else 0
