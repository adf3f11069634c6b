"""Laws of finding and ending a process tree whose members become other programs, or other processes, while it is looked at."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nodekit.process_tree import MARK_VARIABLE, end_tree, members
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
