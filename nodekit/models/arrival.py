"""What of a model has arrived: the size of folders, seen while others write into it (registry clients tell nothing)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

_PERIOD_SECONDS = 0.5


@contextmanager
def watching(folders: Sequence[Path], tell: Callable[[int], None]) -> Iterator[None]:
    """Tell how many bytes the folders hold, twice a second for the time of the block, from a thread of its own."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_PERIOD_SECONDS):
            tell(sum(map(size_of_folder, folders)))

    thread = threading.Thread(target=watch, name="arrival", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def size_of_folder(folder: Path) -> int:
    """Return the bytes of all files below a folder; files that vanish meanwhile do not count."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.lstat().st_size
        except OSError:
            continue
    return total
