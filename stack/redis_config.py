"""The embedded Redis: durable, never evicting, for this stack alone."""

from __future__ import annotations

from pathlib import Path

_CONFIG = """\
bind 127.0.0.1
port {port}
dir {folder}
requirepass {password}
# Accepted work must survive a crash of Redis: a write is answered when it is on disk. Synced each second instead, Redis holds
# writes back in its own memory while a sync runs, and a killed process has lost up to two seconds of what it had answered.
appendonly yes
appendfsync always
save ""
maxmemory-policy noeviction
"""


def write_redis_config(folder: Path, port: int, password: str) -> Path:
    """Write `redis.conf` (readable by its owner only: it holds the password); gives its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "redis.conf"
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(_CONFIG.format(port=port, folder=folder.resolve(), password=password))
    return path
