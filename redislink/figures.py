"""What a Redis says about itself, as figures: an installation sees its stores without an exporter of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from prometheus_client import Gauge
from redis.exceptions import RedisError, ResponseError

from runtime.logs import get_logger
from runtime.seldom import Seldom

seldom = Seldom(get_logger(__name__))

PERIOD_SECONDS = 5.0

UP = Gauge("yivideo_redis_up", "Whether this process's store answered when it was last asked.", ["store"])
_FIGURES = {
    "used_memory": Gauge("yivideo_redis_memory_bytes", "Memory that the store's data and buffers take.", ["store"]),
    "maxmemory": Gauge("yivideo_redis_memory_limit_bytes", "Memory that it may take; 0: no limit.", ["store"]),
    "connected_clients": Gauge("yivideo_redis_clients", "Connections to the store.", ["store"]),
    "total_commands_processed": Gauge(
        "yivideo_redis_commands", "Commands that the store has processed since its start.", ["store"]
    ),
    "evicted_keys": Gauge(
        "yivideo_redis_evicted_keys", "Keys thrown away for want of memory since its start: must stay 0.", ["store"]
    ),
    "connected_slaves": Gauge("yivideo_redis_replicas", "Replicas that follow the store.", ["store"]),
    "uptime_in_seconds": Gauge("yivideo_redis_uptime_seconds", "Seconds since the store's start.", ["store"]),
    "aof_current_size": Gauge("yivideo_redis_aof_bytes", "Size of the append-only file; 0: it has none.", ["store"]),
}  # fmt: skip
_AOF_OK = Gauge(
    "yivideo_redis_aof_ok",
    "Whether the append-only file could be written the last time; 1 too where there is none.",
    ["store"],
)


async def publish_for_ever(ask: Callable[[], Awaitable[bytes]], store: str) -> None:
    """Keep a store's figures up to date; `ask` answers INFO's text. What is asked in vain counts as down."""
    while True:
        try:
            async with asyncio.timeout(PERIOD_SECONDS):
                publish(await ask(), store)
        except ResponseError as error:  # this user may not ask for it: it is there all the same
            UP.labels(store).set(1)
            seldom.warning("a store does not tell how it is", store=store, reason=str(error))
        except (RedisError, OSError) as error:
            UP.labels(store).set(0)
            seldom.warning("a store does not tell how it is", store=store, reason=str(error))
        await asyncio.sleep(PERIOD_SECONDS)


def publish(info: bytes, store: str) -> None:
    """Set the figures out of one answer to INFO."""
    told = read(info)
    UP.labels(store).set(1)
    for name, gauge in _FIGURES.items():
        gauge.labels(store).set(float(told.get(name, 0)))
    _AOF_OK.labels(store).set(told.get("aof_last_write_status", "ok") == "ok")


def read(info: bytes) -> Mapping[str, str]:
    """Return INFO's lines as a mapping."""
    lines = info.decode("utf-8", "replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line and not line.startswith("#"))
