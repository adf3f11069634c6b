"""What every client process of the bench does: read a plan, wait for its moment, take its turn, say when things happened.

This file is run by two environments, ours and that of the peers, and imports nothing but the standard library. A plan is one
JSON line: `{"lock": name, "ask": ns, "hold": seconds}` for one turn, `{"lock": name, "pairs": n}` for taking and giving back so
many times in a row (answered with the seconds of each), `{"lock": name, "until": ns, "hold": seconds}` for turns without a pause.
An answer is one JSON line.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol


class Lock(Protocol):
    """A lock as a blocking client sees it."""

    def acquire(self) -> None:
        """Wait for it."""

    def release(self) -> None:
        """Give it back."""


def sleep_until(moment: int) -> None:
    """Sleep until a CLOCK_MONOTONIC nanosecond."""
    while (left := moment - time.monotonic_ns()) > 0:
        time.sleep(left / 1e9)


def take_turn(lock: Lock, plan: dict[str, Any]) -> list[int]:
    """Take one turn; returns when it asked, ran, and began to give back."""
    sleep_until(plan.get("ask", 0))
    asked = time.monotonic_ns()
    lock.acquire()
    running = time.monotonic_ns()
    time.sleep(plan["hold"])
    releasing = time.monotonic_ns()
    lock.release()
    return [asked, running, releasing]


def take_pairs(lock: Lock, count: int) -> list[float]:
    """Take and give back so many times; returns the seconds of each pair."""
    times = []
    for _ in range(count):
        begin = time.perf_counter()
        lock.acquire()
        lock.release()
        times.append(time.perf_counter() - begin)
    return times


def serve(locks: Callable[[str], Lock]) -> None:
    """Obey plans from standard input until it ends."""
    print("ready", flush=True)
    for line in sys.stdin:
        plan = json.loads(line)
        lock = locks(plan["lock"])
        done: list[Any] = []
        if "pairs" in plan:
            done = take_pairs(lock, plan["pairs"])
        elif "until" in plan:
            while time.monotonic_ns() < plan["until"]:
                done.append(take_turn(lock, plan))
        else:
            done = take_turn(lock, plan)
        print(json.dumps(done), flush=True)
