"""The embedded Redis keeps what it has answered."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from stack.redis_config import Sync, write_redis_config


@contextmanager
def running(folder: Path, port: int, sync: Sync = "always") -> Iterator[redis.Redis]:
    """Run Redis as the stack does, and kill it at the end of the block."""
    config = write_redis_config(folder, port, "secret", sync=sync)
    process = subprocess.Popen(["redis-server", str(config)], stdout=subprocess.DEVNULL)
    client = redis.Redis(port=port, password="secret")
    deadline = time.monotonic() + 10
    try:
        while True:
            try:
                client.ping()
                break
            except (redis.ConnectionError, redis.BusyLoadingError):
                assert time.monotonic() < deadline and process.poll() is None
                time.sleep(0.02)
        yield client
    finally:
        process.kill()
        process.wait()
        client.close()


def test_what_was_answered_survives_a_kill(tmp_path: Path, free_port: Callable[[], int]) -> None:
    """A write is on disk before it is answered; `everysec` loses answered writes when Redis is killed while the disk is busy."""
    port = free_port()
    with running(tmp_path, port) as client:
        assert client.config_get("append*")["appendfsync"] == "always"
        assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"
        for number in range(500):
            client.rpush("answered", number)
    with running(tmp_path, port) as client:
        assert client.llen("answered") == 500
    assert (tmp_path / "redis.conf").stat().st_mode & 0o077 == 0, "it holds the password"


def test_the_redis_of_leases_does_not_wait_for_the_disk(tmp_path: Path, free_port: Callable[[], int]) -> None:
    """It writes everything down, syncs each second, forgets nothing for want of memory, and idles as little as Redis can."""
    with running(tmp_path, free_port(), "everysec") as client:
        found = {
            **client.config_get("append*"),
            **client.config_get("hz"),
            **client.config_get("maxmemory-policy"),
        }
    assert found["appendonly"] == "yes"
    assert found["appendfsync"] == "everysec"
    assert found["hz"] == "1"
    assert found["maxmemory-policy"] == "noeviction"
