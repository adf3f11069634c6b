"""The node in JavaScript, started for a test; and the scheduler's harness to run it under."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.scheduler.conftest import clean_redis, harness, keys

__all__ = ["clean_redis", "harness", "keys"]

HERE = Path(__file__).parent
TOKEN = "known-to-both"


@dataclass
class Process:
    """A node that runs."""

    address: str
    running: subprocess.Popen[str]

    def stop(self) -> int:
        """Send SIGTERM; gives the exit status."""
        self.running.send_signal(signal.SIGTERM)
        return self.running.wait(15)


@contextmanager
def node_process(program: str, token: str = "", **settings: object) -> Iterator[Process]:
    """Run the node for the time of the block; settings are those of `node`, by name."""
    environment = {f"YIVIDEO_NODE__{name.upper()}": str(value) for name, value in settings.items()}
    with subprocess.Popen(
        [program, str(HERE / "node.js")],
        env={
            **os.environ,
            "YIVIDEO_RUNTIME__LISTEN": "127.0.0.1:0",
            "YIVIDEO_RUNTIME__TOKEN": token,
            **environment,
        },
        stdout=subprocess.PIPE,
        text=True,
    ) as running:
        try:
            assert running.stdout is not None
            word, _, address = running.stdout.readline().strip().partition(" ")
            assert word == "listening", "the node did not start; its errors are above"
            yield Process(address, running)
        finally:
            running.kill()


@pytest.fixture(scope="session")
def javascript() -> str:
    """The program that runs JavaScript; the test is skipped where it or the node's packages are missing."""
    path = f"{os.environ['PATH']}:{HERE.parents[1] / '.environments/npm/bin'}"
    program = shutil.which("node", path=path)
    if program is None:
        pytest.skip("needs Node.js, which is not here")
    if not (HERE / "node_modules/@grpc/grpc-js").is_dir():
        pytest.skip(
            "needs the packages of tests/foreign/package-lock.json; `make trials` installs them where npm is"
        )
    return program
