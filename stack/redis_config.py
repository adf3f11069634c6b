"""The embedded Redises: durable, never evicting, for this stack alone."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

Sync = Literal["always", "everysec"]
"""When a write is on disk: before it is answered, or within about two seconds."""

_CONFIG = """\
bind 127.0.0.1
port {port}
dir {folder}
requirepass {password}
appendonly yes
save ""
maxmemory-policy noeviction
"""

_TASKS = """\
# Accepted work must survive a crash of Redis: a write is answered when it is on disk. Synced each second instead, Redis holds
# writes back in its own memory while a sync runs, and a killed process has lost up to two seconds of what it had answered.
appendfsync always
"""

_LEASES = """\
# A store of leases that has forgotten the last seconds does not matter to anybody's safety: after every restart holders say what
# they hold before anything is granted. So no hand-over of a device waits for the disk.
appendfsync everysec
# Its housekeeping has next to nothing to do; the least of it that Redis offers keeps an idle stack idle.
hz 1
"""


def write_redis_config(folder: Path, port: int, password: str, *, sync: Sync = "always") -> Path:
    """Write `redis.conf` (readable by its owner only: it holds the password); gives its path.

    `sync` is `everysec` only where nothing but leases is kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "redis.conf"
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    text = _CONFIG.format(port=port, folder=folder.resolve(), password=password)
    path.write_text(text + (_TASKS if sync == "always" else _LEASES))
    return path
