"""A crew of client processes, and the rounds that it plays.

A round: one client takes the lock; the others ask one after the other, 15 ms apart, so that the order in which they asked is
beyond doubt; then the first gives back, and each keeps the lock for 5 ms.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Sequence
from typing import Any

from bench.gpulock.turns import MILLISECOND, SECOND, Figures, Turn
from bench.servers import ROOT
from runtime.program import dying_with_us

GAP_MILLISECONDS = 15
HOLD_SECONDS = 0.005
_LEAD_MILLISECONDS = 30
"""From the plan to the first request."""
_REST_MILLISECONDS = 60
"""From the last request to the first release."""


class Crew:
    """Client processes of one kind."""

    def __init__(self, command: Sequence[str], size: int) -> None:
        self.clients = [
            subprocess.Popen(
                [*dying_with_us("KILL"), *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                bufsize=1,
                cwd=ROOT,
            )
            for _ in range(size)
        ]

    def ready(self) -> None:
        """Wait until every client can take part."""
        for number in range(len(self.clients)):
            if (said := self._line(number)) != "ready":
                raise RuntimeError(f"a client did not start: {said!r}")

    def tell(self, number: int, plan: dict[str, Any]) -> None:
        """Give one client its plan."""
        stream = self.clients[number].stdin
        assert stream is not None
        stream.write(json.dumps(plan) + "\n")
        stream.flush()

    def hear(self, number: int) -> Any:
        """Wait for one client's answer."""
        return json.loads(self._line(number))

    def _line(self, number: int) -> str:
        stream = self.clients[number].stdout
        assert stream is not None
        line = stream.readline()
        if not line:
            raise RuntimeError("a client has ended")
        return line.strip()

    def round(self, *locks: str, waiters: int) -> list[Turn]:
        """Play one round. With several names, which must be ways to one lock, the clients use them in turn."""
        begin = time.monotonic_ns() + _LEAD_MILLISECONDS * MILLISECOND
        first = (GAP_MILLISECONDS * waiters + _REST_MILLISECONDS) / 1000
        for number in range(waiters + 1):
            self.tell(
                number,
                {
                    "lock": locks[number % len(locks)],
                    "ask": begin + number * GAP_MILLISECONDS * MILLISECOND,
                    "hold": HOLD_SECONDS if number else first,
                },
            )
        return [Turn(*self.hear(number)) for number in range(waiters + 1)]

    def rounds(self, lock: str, waiters: int, count: int) -> Figures:
        """Play several rounds."""
        figures = Figures.empty()
        for _ in range(count):
            figures.add(self.round(lock, waiters=waiters))
        return figures

    def pairs(self, lock: str, clients: int, count: int) -> tuple[list[float], float]:
        """Have clients take and give back side by side; returns the seconds of every pair, and pairs a second in all."""
        begin = time.monotonic()
        for number in range(clients):
            self.tell(number, {"lock": lock, "pairs": count})
        found = [second for number in range(clients) for second in self.hear(number)]
        return found, len(found) / (time.monotonic() - begin)

    def loop(self, lock: str, clients: int, seconds: float, hold: float) -> list[list[Turn]]:
        """Have clients ask again and again for a while; returns the turns of each."""
        until = time.monotonic_ns() + int(seconds * SECOND)
        for number in range(clients):
            self.tell(number, {"lock": lock, "until": until, "hold": hold})
        return [[Turn(*turn) for turn in self.hear(number)] for number in range(clients)]

    def close(self) -> None:
        """End the clients."""
        for client in self.clients:
            client.kill()
        for client in self.clients:
            client.communicate()
