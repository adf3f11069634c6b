"""What a store says about itself: read from a real one, while it is there and while it is not."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import REGISTRY

from redislink import figures
from redislink.pipe import Pipe
from tests.scheduler.conftest import until


def value(name: str, store: str) -> float | None:
    return REGISTRY.get_sample_value(f"yivideo_redis_{name}", {"store": store})


async def test_a_store_is_seen_and_missed(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Up with its figures; one that cannot be reached is down, and keeps what was last seen of the others."""
    monkeypatch.setattr(figures, "PERIOD_SECONDS", 0.05)
    pipe, nowhere = Pipe(redis_url, name="figures"), Pipe("redis://127.0.0.1:9/0", name="nowhere")
    works = [
        asyncio.create_task(figures.publish_for_ever(lambda: pipe.call("INFO"), "there")),
        asyncio.create_task(figures.publish_for_ever(lambda: nowhere.call("INFO"), "gone")),
    ]
    try:
        await until(lambda: value("up", "there") == 1 and value("up", "gone") == 0)
        assert (value("memory_bytes", "there") or 0) > 100_000
        assert (value("clients", "there") or 0) >= 1
        assert (value("commands", "there") or 0) > 0
        assert value("aof_ok", "there") == 1 and value("evicted_keys", "there") == 0
        assert value("memory_bytes", "gone") is None
    finally:
        for work in works:
            work.cancel()
        await asyncio.gather(*works, return_exceptions=True)
        pipe.end()
        nowhere.end()


def test_a_file_that_cannot_be_written_is_told() -> None:
    """`MISCONF` is near: the append-only file's last write failed."""
    figures.publish(b"# Persistence\r\naof_last_write_status:err\r\nmaxmemory:1000\r\n", "sick")
    assert (value("aof_ok", "sick"), value("memory_limit_bytes", "sick")) == (0, 1000)
