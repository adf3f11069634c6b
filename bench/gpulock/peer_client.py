"""A client process of the peers, run by their own environment: `peer_client.py redis-py|python-redis-lock REDIS_URL`."""

from __future__ import annotations

import sys

import redis
import redis_lock
from client import Lock, serve

EXPIRE_SECONDS = 60


class RedisPyLock:
    """redis-py's Lock with its defaults: a poll every 0.1 s."""

    def __init__(self, link: redis.Redis, name: str) -> None:
        self._lock = link.lock(f"redis-py:{name}", timeout=EXPIRE_SECONDS)

    def acquire(self) -> None:
        """Wait for it."""
        assert self._lock.acquire()

    def release(self) -> None:
        """Give it back."""
        self._lock.release()


class BlpopLock:
    """python-redis-lock with its defaults: waiters block in BLPOP on the lock's signal."""

    def __init__(self, link: redis.Redis, name: str) -> None:
        self._lock = redis_lock.Lock(link, name, expire=EXPIRE_SECONDS)

    def acquire(self) -> None:
        """Wait for it."""
        assert self._lock.acquire()

    def release(self) -> None:
        """Give it back."""
        self._lock.release()


KINDS = {"redis-py": RedisPyLock, "python-redis-lock": BlpopLock}


def main() -> None:
    """Serve plans."""
    kind, url = sys.argv[1:]
    # Waiters block for longer than redis-py's own socket timeout.
    link = redis.Redis.from_url(url, socket_timeout=None)
    made: dict[str, Lock] = {}

    def lock(name: str) -> Lock:
        if name not in made:
            made[name] = KINDS[kind](link, name)
        return made[name]

    serve(lock)


if __name__ == "__main__":
    main()
