"""What the installations of benches have in common: settings by name, and their Redis."""

from __future__ import annotations

from pathlib import Path

from stack.part import PartSpec
from stack.probes import redis_probe
from stack.redis_config import write_redis_config


def port_of(address: str) -> int:
    """Return the port of `host:port`."""
    return int(address.rpartition(":")[2])


def settings(listen: str, token: str, **values: str) -> dict[str, str]:
    """Return the environment of one of our processes; `values` are settings by lower-case name: `scheduler__redis_url`."""
    return {
        "YIVIDEO_RUNTIME__LISTEN": listen,
        "YIVIDEO_RUNTIME__TOKEN": token,
        **{f"YIVIDEO_{name.upper()}": value for name, value in values.items()},
    }


def redis_url(address: str, token: str) -> str:
    """Return where that Redis is, as settings want it."""
    return f"redis://:{token}@{address}/0"


def redis_part(folder: Path, address: str, token: str) -> PartSpec:
    """Describe a Redis as the embedded stack has it for tasks; `token` is its password."""
    config = write_redis_config(folder / "redis", port_of(address), token)
    return PartSpec("redis", ("redis-server", str(config)), redis_probe(address, token))
