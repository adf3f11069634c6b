"""Fixtures of every room's tests: free ports, a real Redis, a real S3, the shared media."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from tests.s3 import radosgw

ROOT = Path(__file__).resolve().parent.parent

pytest_plugins = ["tests.media.films"]


@pytest.fixture(scope="session")
def shared_media() -> Path:
    """The folder of real recordings with known truth; the test is skipped where the project stands alone."""
    folder = ROOT.parent / "shared" / "media"
    if not folder.is_dir():
        pytest.skip("needs ../shared/media, which is not here")
    return folder


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """Return a function that finds a loopback port that is free now."""

    def find() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
            return port

    return find


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]) -> Iterator[str]:
    """Start one real Redis for the whole run; gives its URL (database 0)."""
    binary = shutil.which("redis-server")
    assert binary, "redis-server is missing: run `make setup`"
    folder = tmp_path_factory.mktemp("redis")
    port = free_port()
    server = subprocess.Popen(
        [
            binary,
            "--port",
            str(port),
            "--bind",
            "127.0.0.1",
            "--dir",
            str(folder),
            "--save",
            "",
            "--appendonly",
            "no",
        ],
        stdout=subprocess.DEVNULL,
    )
    client = redis.Redis(port=port)
    try:
        _wait_until_answering(client)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        client.close()
        server.terminate()
        server.wait(10)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[radosgw.S3Server]:
    """A real S3 server; about 13 s to start, so one for all tests."""
    with radosgw.running() as server:
        yield server


def _wait_until_answering(client: redis.Redis) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            client.ping()
        except redis.ConnectionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return
