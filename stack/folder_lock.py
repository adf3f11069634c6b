"""The lock on a stack's folder: one stack at a time, held until the last of its parts has ended.

Two in one folder would open the same append-only files. The parts inherit the lock, so that a stack which was killed leaves
the folder locked for as long as one of its parts still writes there.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, Any

_ENDING_SECONDS = 60.0
"""How long the parts of a stack that is gone may take to end."""
_LOOK_SECONDS = 0.1


class FolderTaken(Exception):
    """Another stack has the folder; the message says which process it is and since when."""


@asynccontextmanager
async def held_folder(
    folder: Path, tell: Callable[[str], None], *, ending_seconds: float = _ENDING_SECONDS
) -> AsyncIterator[int]:
    """Hold a folder for the time of the block; gives the file that parts inherit. Raises FolderTaken.

    The parts of a stack that was killed are waited for; a stack that lives is not.
    """
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as file:
        await _take(file, folder, tell, ending_seconds)
        file.truncate(0)
        file.write(
            json.dumps({"pid": os.getpid(), "since": datetime.now().astimezone().isoformat("T", "seconds")})
        )
        file.flush()
        yield file.fileno()


async def _take(file: IO[str], folder: Path, tell: Callable[[str], None], ending_seconds: float) -> None:
    waited = 0.0
    while not _locked(file):
        holder = _holder(file)
        pid = holder.get("pid")
        if isinstance(pid, int) and _lives(pid):
            raise FolderTaken(
                f"{folder} is used by the stack with process id {pid}, up since {holder.get('since')}"
            )
        if waited == 0.0:
            tell(f"waiting for the parts of an earlier stack in {folder} to end …")
        if waited >= ending_seconds:
            raise FolderTaken(
                f"{folder} is still used by a part of an earlier stack (process id {pid}, gone)"
            )
        await asyncio.sleep(_LOOK_SECONDS)
        waited += _LOOK_SECONDS


def _locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(file: IO[str]) -> dict[str, Any]:
    file.seek(0)
    try:
        found = json.load(file)
    except ValueError:  # it is being written
        return {}
    return found if isinstance(found, dict) else {}


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
