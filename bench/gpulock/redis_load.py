"""What Redis is asked to do: commands a second, and the time of a script."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import redis


class RedisLoad:
    """Reads Redis's own counters, and leaves out what the reading adds."""

    def __init__(self, url: str) -> None:
        self._link = redis.Redis.from_url(url)
        self._link.ping()

    def commands(self) -> int:
        """Return how many commands Redis has had; each call is one more."""
        return int(self._link.info("stats")["total_commands_processed"])

    def per_second(self, seconds: float) -> float:
        """Return the commands a second over the next seconds."""
        before = self.commands()
        time.sleep(seconds)
        return (self.commands() - before - 1) / seconds

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
        stats = self._link.info("commandstats").get("cmdstat_evalsha", {})
        return int(stats.get("calls", 0)), int(stats.get("usec", 0))

    def close(self) -> None:
        """Close the connection."""
        self._link.close()
