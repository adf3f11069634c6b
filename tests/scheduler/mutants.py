"""Are the tests of the queue worth something? One-line faults (`mutants.toml`) are put into its scripts; each must be noticed.

`python -m tests.scheduler.mutants` runs the state machine against each faulty script and, where the machine sees nothing, the
plain tests of the queue, in a copy of the tree that has the fault. What nothing notices is named, and the exit status is 1.
`--only WORD` takes the mutants whose name has the word.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis

from stack.assembly import free_address
from tests.scheduler.test_queue_machine import run_machine

ROOT = Path(__file__).resolve().parents[2]
LUA = ROOT / "scheduler" / "lua"
FAULTS = Path(__file__).with_suffix(".toml")
PLAIN_TESTS = ("test_queue.py", "test_delivery.py")


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


def scripts_with(mutant: Mutant) -> dict[str, str]:
    """All scripts, the prelude put in front, one of them with the fault."""
    texts = {path.stem: path.read_text() for path in LUA.glob("*.lua")} | {mutant.script: mutant.text()}
    prelude = "".join(texts.pop(name) for name in sorted(texts) if name.split("_")[0] == "prelude")
    return {name: prelude + text for name, text in texts.items()}


def machine_notices(url: str, mutant: Mutant, examples: int) -> bool:
    """Whether the state machine finds an order of steps in which the fault shows."""
    try:
        run_machine(url, scripts=scripts_with(mutant), examples=examples, shrink=False)
    except Exception:
        return True
    return False


def plain_tests_notice(mutant: Mutant) -> bool:
    """Whether a plain test of the queue fails with the fault."""
    with tempfile.TemporaryDirectory(prefix="yivideo-mutant-") as folder:
        for entry in ROOT.iterdir():
            if entry.name != "scheduler" and not entry.name.startswith("."):
                (Path(folder) / entry.name).symlink_to(entry)
        shutil.copytree(ROOT / "scheduler", Path(folder) / "scheduler")
        (Path(folder) / "scheduler" / "lua" / f"{mutant.script}.lua").write_text(mutant.text())
        tests = [f"tests/scheduler/{name}" for name in PLAIN_TESTS]
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-m", "", "-p", "no:cacheprovider", *tests]
        return subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode == 1


@contextmanager
def empty_redis() -> Iterator[str]:
    """Run a Redis for the time of the block; gives its URL."""
    port = free_address().rpartition(":")[2]
    with tempfile.TemporaryDirectory(prefix="yivideo-mutants-") as folder:
        command = ["redis-server", "--port", port, "--bind", "127.0.0.1", "--dir", folder, "--save", ""]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        client = redis.Redis(port=int(port))
        try:
            while True:
                try:
                    client.ping()
                    break
                except redis.ConnectionError:
                    assert server.poll() is None, "redis-server did not start"
                    time.sleep(0.02)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            client.close()
            server.terminate()
            server.wait(10)


def main() -> int:
    """Try every mutant; 0 when each was noticed."""
    parser = argparse.ArgumentParser(prog="python -m tests.scheduler.mutants")
    parser.add_argument("--only", default="")
    parser.add_argument("--examples", type=int, default=120)
    given = parser.parse_args()
    wanted = [mutant for mutant in load_mutants() if given.only in f"{mutant.script}: {mutant.name}"]
    by_machine, by_tests, survivors = 0, [], []
    with empty_redis() as url:
        for mutant in wanted:
            began = time.monotonic()
            if machine_notices(url, mutant, given.examples):
                by_machine += 1
                who = "machine"
            elif plain_tests_notice(mutant):
                by_tests.append(mutant.name)
                who = "tests"
            else:
                survivors.append(mutant.name)
                who = "NOBODY"
            print(f"{who:8} {time.monotonic() - began:5.1f} s  {mutant.script}: {mutant.name}", flush=True)
    result = {
        "mutants": len(wanted), "by_machine": by_machine, "by_plain_tests": len(by_tests), "survivors": survivors,
    }  # fmt: skip
    print("RESULT " + json.dumps(result))
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
