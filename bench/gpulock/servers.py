"""The lock service of the bench: a replica as the embedded stack runs it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping

from bench.servers import rpc_server

TTL_SECONDS = 20.0
BEAT_SECONDS = 5.0
LOCK_DELAY_SECONDS = 0.5

ONE = {"default": 1}
MANY = {"ten": 10, "pairs": 32}
"""Devices by pool, of two installations on one Redis."""


def lock_service(redis_url: str, pools: Mapping[str, int]) -> contextlib.AbstractContextManager[str]:
    """Run a replica of the lock service as the embedded stack does; replicas with the same pools share their leases."""
    devices = [
        {"name": f"{pool}-{number}", "pool": pool, "memory_mib": 8192}
        for pool, count in pools.items()
        for number in range(count)
    ]
    return rpc_server(
        "gpulock",
        {
            "YIVIDEO_GPULOCK__REDIS_URL": redis_url,
            "YIVIDEO_GPULOCK__DEVICES": json.dumps(devices),
            "YIVIDEO_GPULOCK__KEY_PREFIX": f"{{bench-{'-'.join(pools)}}}:",
            "YIVIDEO_GPULOCK__INITIAL_STATE": "new",
            "YIVIDEO_GPULOCK__LOCK_DELAY_SECONDS": str(LOCK_DELAY_SECONDS),
            "YIVIDEO_GPU_LOCK_MONITOR__HEARTBEAT__INTERVAL": str(BEAT_SECONDS),
            "YIVIDEO_GPU_LOCK_MONITOR__HEARTBEAT__TIMEOUT": str(TTL_SECONDS),
        },
    )
