"""What the tests have workers do. Each fresh worker imports this file, so it needs nothing that takes long to import."""

from __future__ import annotations

import os
import threading
import time


def worker_pid() -> int:
    """Tell which process runs this."""
    return os.getpid()


def double(values: list[int], *, plus: int = 0) -> list[int]:
    """Compute."""
    print("this must not reach the results")
    os.write(1, b"nor this")
    return [2 * value + plus for value in values]


class NeedsTwo(Exception):
    """An exception that cannot be unpickled from its message alone."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def fail_oddly() -> None:
    """Raise what pickle cannot carry."""
    raise NeedsTwo(1, 2)


def fail_plainly() -> None:
    """Raise what pickle can carry."""
    raise ZeroDivisionError("by zero")


def return_a_lock() -> object:
    """Return what pickle cannot carry."""
    return threading.Lock()


def linger(seconds: float) -> None:
    """Take a while."""
    time.sleep(seconds)
