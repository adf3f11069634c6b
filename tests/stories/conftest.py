"""A whole stack in processes of its own, and a client for it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from stack.demo.film import Film, make_film
from stack.private_files import new_callback_secret
from tests.conftest import ROOT
from tests.signals import heeded

_START_SECONDS = 150.0
"""Until a stack is up, also on a machine that is busy with others; how long it takes alone `make bench-idle` measures."""


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> Iterator[None]:
    """Programs that are started can be interrupted."""
    with heeded():
        yield


@dataclass
class RunningStack:
    """A stack that serves."""

    folder: Path
    card: dict[str, Any]
    process: subprocess.Popen[bytes]
    callback_secret: str

    @property
    def url(self) -> str:
        """Address of the REST surface."""
        url: str = self.card["url"]
        return url

    def pid(self, part: str) -> int:
        """Process id of a part as it was when the stack came up."""
        pid: int = self.card["pids"][part]
        return pid


@contextmanager
def running_stack(folder: Path, *, python: str = sys.executable, **settings: Any) -> Iterator[RunningStack]:
    """Start `python -m stack` in a folder, with settings of its section; stop it with SIGTERM and expect exit 0.

    `python` runs the stack and its servers. Of the table's nodes only ffmpeg runs unless `only` says others: most stories need no
    more, and each costs a second.
    """
    secret = new_callback_secret()
    section = {
        "folder": str(folder),
        "gateway_listen": "127.0.0.1:0",
        "callback_secret": secret,
        "only": ["ffmpeg"],
        "metrics_port": 0,  # others on this machine start stacks at the same moment
        **settings,
    }
    environment = {
        **os.environ,
        **{
            f"YIVIDEO_STACK__{name.upper()}": value if isinstance(value, str) else json.dumps(value)
            for name, value in section.items()
        },
    }
    log = (folder.parent / f"{folder.name}.log").open("wb")
    process = subprocess.Popen([python, "-m", "stack"], cwd=ROOT, env=environment, stdout=log, stderr=log)
    try:
        yield RunningStack(
            folder, _wait_for_card(folder / "stack.json", process, Path(log.name)), process, secret
        )
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, Path(log.name).read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(10)
        log.close()


def _wait_for_card(path: Path, process: subprocess.Popen[bytes], log: Path) -> dict[str, Any]:
    deadline = time.monotonic() + _START_SECONDS
    while not path.exists():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
    card: dict[str, Any] = json.loads(path.read_text())
    return card


@pytest.fixture(scope="session")
def callback_port(free_port: Callable[[], int]) -> int:
    """The loopback port that the shared stack may call back."""
    return free_port()


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, callback_port: int) -> Iterator[RunningStack]:
    """One stack for all stories that leave it as they found it."""
    folder = tmp_path_factory.mktemp("stack") / "run"
    with running_stack(folder, allow_addresses=[f"127.0.0.1:{callback_port}"]) as running:
        yield running


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> Film:
    """A short spoken film with burned-in subtitles."""
    return make_film(tmp_path_factory.mktemp("film"))
