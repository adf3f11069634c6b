"""What Redis is asked to do: commands a second, and the time of a script."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

import redis


class RedisLoad:
    """Watches a Redis."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._link = redis.Redis.from_url(url)
        self._link.ping()

    def per_second(self, seconds: float) -> float:
        """Return the commands a second that clients send over the next seconds.

        Redis's own counter also counts what scripts call; MONITOR tells the two apart.
        """
        seen: list[str] = []
        watching = threading.Event()

        def watch() -> None:
            with redis.Redis.from_url(self._url) as link, link.monitor() as monitor:
                watching.set()
                for command in monitor.listen():
                    if command["command"].startswith("ECHO bench-ends"):
                        return
                    if command["client_type"] != "lua":
                        seen.append(command["command"])

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        watching.wait(10)
        begin = time.monotonic()
        time.sleep(seconds)
        count, passed = len(seen), time.monotonic() - begin
        self._link.echo("bench-ends")
        thread.join(10)
        return count / passed

    @contextlib.contextmanager
    def script_microseconds(self) -> Iterator[list[float]]:
        """Put into the list the mean server time of the scripts that run during the block."""
        found: list[float] = []
        before = self._scripts()
        yield found
        after = self._scripts()
        calls = after[0] - before[0]
        found.append((after[1] - before[1]) / calls if calls else float("nan"))

    def _scripts(self) -> tuple[int, int]:
        stats = self._link.info("commandstats").get("cmdstat_fcall", {})
        return int(stats.get("calls", 0)), int(stats.get("usec", 0))

    def close(self) -> None:
        """Close the connection."""
        self._link.close()
