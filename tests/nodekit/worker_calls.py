"""What the tests have workers do. Each fresh worker imports this file, so it needs nothing that takes long to import."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path


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


def count_until(path: str, last: int, deaths: int) -> int:
    """Write the numbers up to `last` into a file, on from those in it; dies of SIGKILL in its middle so many times."""
    with Path(path).open("a+b") as file:
        file.seek(0)
        done = len(file.read())
        for number in range(done, last):
            file.write(bytes([number]))
            file.flush()
            if number + 1 in range(2, 2 + deaths):
                os.kill(os.getpid(), signal.SIGKILL)
    return last - done
