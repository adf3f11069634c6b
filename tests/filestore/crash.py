"""A filestore that dies at one step of a write: `python -m tests.filestore.crash <root> <step>`; for test_local.py."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filestore.blobs import BlobFolder, PartialBlob
from filestore.index import FileIndex
from filestore.local import LocalBackend
from tests.filestore.contents import new_file, pieces

BUCKET = "yivideo"
OLD, NEW = b"old" * 1000, b"new" * 1_000_000


def die(*_: Any, **__: Any) -> None:
    """End this process as a power cut would."""
    os.kill(os.getpid(), signal.SIGKILL)


def before(owner: type, method: str) -> None:
    """Die instead of calling the method."""
    setattr(owner, method, die)


def after(owner: type, method: str) -> None:
    """Call the method, then die."""
    original: Callable[..., Any] = getattr(owner, method)

    def both(*args: Any, **kwargs: Any) -> None:
        original(*args, **kwargs)
        die()

    setattr(owner, method, both)


STEPS: dict[str, tuple[Callable[[], None], bytes]] = {
    "after-begin": (lambda: after(PartialBlob, "begin"), OLD),
    "after-write": (lambda: after(PartialBlob, "write"), OLD),
    "before-seal": (lambda: before(PartialBlob, "seal"), OLD),
    "after-seal": (lambda: after(PartialBlob, "seal"), OLD),
    "before-index": (lambda: before(FileIndex, "put"), OLD),
    "after-index": (lambda: after(FileIndex, "put"), NEW),
    "before-remove-old": (lambda: before(BlobFolder, "remove"), NEW),
    "after-remove-old": (lambda: after(BlobFolder, "remove"), NEW),
}
"""Where it dies, and which content the file must have afterwards."""


async def main(root: Path, step: str) -> None:
    """Write the old content, then die while the new one replaces it."""
    store = LocalBackend(root)
    await store.start(BUCKET)
    await store.put(new_file(BUCKET, "film", OLD), pieces(OLD))
    STEPS[step][0]()
    await store.put(new_file(BUCKET, "film", NEW), pieces(NEW))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
