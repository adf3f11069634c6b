"""Are the tests of the queue worth something? One-line faults (`mutants.toml`) are put into its scripts; each must be noticed.

`python -m tests.scheduler.mutants` runs the state machine against each faulty script and, where the machine sees nothing, the
plain tests of the queue, in a copy of the tree that has the fault. What nothing notices is named, and the exit status is 1.
`--only WORD` takes the mutants whose name has the word.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from subprocess import DEVNULL, Popen

import redis

from redislink.lua import read_lua
from stack.ports import free_address
from tests.mutation import Mutant, load_mutants, tally, tests_notice
from tests.scheduler.queue.test_queue_machine import run_machine

PLAIN_TESTS = (
    "queue/test_queue.py", "queue/test_queue_attempts.py", "queue/test_queue_again.py", "queue/test_references.py",
    "queue/test_revoked_keys.py", "queue/test_history.py", "queue/test_availability.py", "callbacks/test_delivery.py",
    "api/test_other_users.py", "api/test_workflows.py", "api/test_workflow_ends.py", "api/test_scaler.py",
)  # fmt: skip


def files_with(mutant: Mutant) -> dict[str, str]:
    """The texts of all scripts and preludes, one of them with the fault."""
    return read_lua("scheduler") | {mutant.script: mutant.text()}


def machine_notices(url: str, mutant: Mutant, examples: int) -> bool:
    """Whether the state machine finds an order of steps in which the fault shows."""
    try:
        run_machine(url, files=files_with(mutant), examples=examples, shrink=False)
    except Exception:
        return True
    return False


@contextmanager
def empty_redis() -> Iterator[str]:
    """Run a Redis for the time of the block; gives its URL."""
    port = free_address().rpartition(":")[2]
    with tempfile.TemporaryDirectory(prefix="yivideo-mutants-") as folder:
        command = ["redis-server", "--port", port, "--bind", "127.0.0.1", "--dir", folder, "--save", ""]
        server = Popen(command, stdout=DEVNULL)
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
    with empty_redis() as url:

        def who_notices(mutant: Mutant) -> str:
            if machine_notices(url, mutant, given.examples):
                return "machine"
            return "tests" if tests_notice(mutant, PLAIN_TESTS) else ""

        return tally(
            [mutant for mutant in load_mutants("scheduler") if given.only in str(mutant)], who_notices
        )


if __name__ == "__main__":
    sys.exit(main())
