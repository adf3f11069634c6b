"""Laws of finding and ending a process tree whose members become other programs, or other processes, while it is looked at."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nodekit.process.process_tree import MARK_VARIABLE, Ending, end_tree, exiting, members
from tests.nodekit.conftest import processes_with

Start = Callable[[str, str], int]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Return a function that starts a shell script under a mark, and tells its pid; `$0` is the script."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(mark: str, script: str) -> int:
        path = tmp_path / f"script-{len(started)}"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o700)
        environment = {**os.environ, MARK_VARIABLE: f"{mark}0/"}
        started.append(subprocess.Popen([path], env=environment, start_new_session=True))
        return started[-1].pid

    yield begin
    for process in started:
        process.kill()
        process.wait()


def test_a_process_that_becomes_another_program_is_seen(start: Start) -> None:
    """A member is found by every look, also by one in the moment in which the kernel shows no environment of it."""
    mark = f"tree-test-{uuid.uuid4().hex}/"
    pid = start(mark, 'exec "$0"')
    assert [members(mark) for _ in range(300)] == [[pid]] * 300
    end_tree(mark)


def test_nothing_is_left_of_a_tree_that_moves(start: Start) -> None:
    """A tree is ended whole whatever its processes are about to be: other programs, daemons, or leaders of their own sessions."""
    number = uuid.uuid4().int % 10**8
    for _ in range(50):
        mark = f"tree-test-{uuid.uuid4().hex}/"
        start(mark, f"setsid sh -c 'setsid sh -c \"exec sleep 75{number}\" &' &")
        end_tree(mark)
        assert members(mark) == []
    assert processes_with(f"75{number}") == []


def test_who_is_on_its_way_out_is_seen_until_it_is_gone() -> None:
    """A dead process may have a device open until its last thread has ended; an ordinary one, or a whole zombie, is not meant."""
    script = "import ctypes, threading; threading.Thread(target=input).start(); ctypes.CDLL(None).pthread_exit(None)"
    process = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE)
    living = subprocess.Popen(["sleep", "76"])
    try:
        wait_until(lambda: process.pid in exiting())
        assert living.pid not in exiting()
    finally:
        process.kill()
        living.kill()
        # Zombies: nobody has waited for them yet.
        wait_until(lambda: not {process.pid, living.pid} & set(exiting()))
        process.communicate()
        living.wait()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.005)


def test_no_look_is_late_for_the_end_of_the_grace() -> None:
    """Pauses grow to 50 ms, but one of them ends with the grace, so that SIGKILL goes out on time; then they are short again."""
    now = [0.0]
    ending = Ending(0.3, clock=lambda: now[0])
    pauses = []
    while ending.overdue_seconds < 0:
        pauses.append(ending.press([]))
        now[0] += pauses[-1]
    assert max(pauses) == 0.05 and 0 <= ending.overdue_seconds < 1e-9
    assert [ending.press([]) for _ in range(3)] == [0.002, 0.004, 0.008]
