"""The embedded Redis: durable, never evicting, for this stack alone."""

from __future__ import annotations

from pathlib import Path

_CONFIG = """\
bind 127.0.0.1
port {port}
dir {folder}
requirepass {password}
# Accepted work must survive a crash of Redis: every write goes to the log, synced each second.
appendonly yes
appendfsync everysec
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
