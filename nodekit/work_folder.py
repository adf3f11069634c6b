"""The work folder of one replica: scratch files of its attempts and its media cache."""

from __future__ import annotations

import asyncio
import fcntl
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from runtime.settings import SettingsError


@dataclass(frozen=True)
class WorkFolder:
    """Where a replica works. `temporary`: it goes with the replica."""

    root: Path
    temporary: bool

    @property
    def scratch(self) -> Path:
        """Folder with one folder per running attempt."""
        return self.root / "scratch"

    @property
    def ends(self) -> Path:
        """Folder of the ends of attempts that the next process is to tell; a temporary work folder has no next process."""
        return self.root / "ends"

    @property
    def cache(self) -> Path:
        """Folder of fetched media; on the same filesystem as the scratch folder, so that files can be linked."""
        return self.root / "cache"


@asynccontextmanager
async def work_folder(node: str, root: Path | None) -> AsyncIterator[WorkFolder]:
    """Hold a work folder for the time of the block.

    A given root belongs to one replica at a time (SettingsError when another holds it); scratch files that an earlier one left are
    removed, its cache is kept.
    """
    if root is None:
        made = Path(tempfile.mkdtemp(prefix=f"yivideo-{node}-"))
        try:
            yield _prepared(WorkFolder(made, temporary=True))
        finally:
            await asyncio.to_thread(shutil.rmtree, made, ignore_errors=True)
        return
    with await asyncio.to_thread(_taken, root):
        yield WorkFolder(await asyncio.to_thread(root.resolve), temporary=False)


def _taken(root: Path) -> TextIO:
    """Lock a given root and make it ready; the file holds the lock until it is closed."""
    root.mkdir(parents=True, exist_ok=True)
    lock = (root / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise SettingsError(f"settings: node.work_root {root} is used by another replica") from None
    folder = WorkFolder(root, temporary=False)
    shutil.rmtree(folder.scratch, ignore_errors=True)
    _prepared(folder)
    return lock


def _prepared(folder: WorkFolder) -> WorkFolder:
    folder.scratch.mkdir(parents=True, exist_ok=True)
    folder.cache.mkdir(parents=True, exist_ok=True)
    return folder
