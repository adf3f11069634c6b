"""What the tests of model workers run in them. Each fresh worker imports this file, so it needs nothing that takes long to
import.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path


class Model:
    """A made-up model: what it has kept, and how often it was used."""

    def __init__(self) -> None:
        self.ballast: list[bytes] = []
        self.uses = 0


def load() -> Model:
    """Load the model."""
    return Model()


def who(model: Model) -> int:
    """Tell which process this is."""
    model.uses += 1
    return os.getpid()


def _note(folder: str) -> None:
    """Make the file `made` longer by one byte: whoever reads its length meets no half-written number."""
    with Path(folder, "made").open("ab") as made:
        made.write(b".")


def count(model: Model, folder: str, upto: int) -> Iterator[int]:
    """Yield numbers, noting each before it leaves."""
    for number in range(upto):
        _note(folder)
        yield number


def padded(model: Model, folder: str, upto: int) -> Iterator[bytes]:
    """Yield items that fill a pipe soon, noting each before it leaves."""
    for _ in range(upto):
        _note(folder)
        yield bytes(50_000)


def fail_after(model: Model, upto: int) -> Iterator[int]:
    """Yield some numbers, then raise what a broken pipe raises, which is the function's own business."""
    yield from range(upto)
    raise BrokenPipeError("of the function's own")


def forever(model: Model, folder: str) -> Iterator[int]:
    """Yield once, then work for good."""
    yield os.getpid()
    Path(folder, "working").touch()
    while True:
        time.sleep(0.01)


def grow(model: Model, mib: int) -> int:
    """Keep memory, as engines that leak do."""
    model.ballast.append(os.urandom(1 << 20) * mib)
    return os.getpid()


def hold_the_lock(model: Model, seconds: float) -> float:
    """Keep the interpreter's lock: one match of a pattern that backtracks without end is a single call into C."""
    began = time.monotonic()
    size = 20
    while time.monotonic() - began < seconds:
        re.match(r"(a+)+$", "a" * size + "b")
        size += 1
    return time.monotonic() - began


def threads(model: Model) -> str:
    """Tell how many threads numeric libraries would start."""
    return os.environ["OMP_NUM_THREADS"]


def devices(model: Model) -> str:
    """Tell which devices the process sees."""
    return os.environ.get("CUDA_VISIBLE_DEVICES", "unset")


def load_forever(folder: str) -> Model:
    """Note which process loads, and load for good."""
    Path(folder, "loading").write_text(str(os.getpid()))
    while True:
        time.sleep(0.01)


def meet(model: Model, folder: str, name: str, others: int) -> int:
    """Return when so many processes are here at once."""
    Path(folder, f"here-{name}").touch()
    while len(list(Path(folder).glob("here-*"))) < others:
        time.sleep(0.01)
    return os.getpid()
