"""One stack in a folder, and who has it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stack.folder_lock import FolderTaken, held_folder
from stack.part import Part, PartSpec

HOLDER = """
import asyncio, sys
from pathlib import Path
from stack.folder_lock import held_folder
async def main():
    async with held_folder(Path(sys.argv[1]), print):
        print("held", flush=True)
        sys.stdin.read()
asyncio.run(main())
"""


@pytest.mark.trial("10.3")
async def test_a_second_stack_is_told_who_has_the_folder_and_the_first_is_unharmed(tmp_path: Path) -> None:
    """Process id and time of the first, at once; nothing in the folder has changed, and when it has ended the folder is free."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert await asyncio.to_thread(holder.stdout.readline) == b"held\n"
    before = (tmp_path / "lock").read_text()
    with pytest.raises(FolderTaken, match=rf"process id {holder.pid}, up since 20\d\d-"):
        async with held_folder(tmp_path, pytest.fail):
            pytest.fail("two had it")
    assert (tmp_path / "lock").read_text() == before
    holder.communicate(timeout=10)
    async with held_folder(tmp_path, pytest.fail):
        assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()


@pytest.mark.trial("10.3")
async def test_parts_of_a_killed_stack_hold_the_folder_until_they_have_ended(tmp_path: Path) -> None:
    """A next stack waits for them and says so; when they do not end it gives up, and names the stack that they were of."""

    async def ready() -> bool:
        return True

    gone = subprocess.Popen(["true"])
    gone.wait(10)
    async with held_folder(tmp_path, pytest.fail) as held:
        part = Part(PartSpec("part", ("sleep", "60"), ready), tmp_path / "part.log", [held])
        await part.start()
    (tmp_path / "lock").write_text(json.dumps({"pid": gone.pid, "since": "then"}))
    told: list[str] = []
    with pytest.raises(FolderTaken, match=f"process id {gone.pid}, gone"):
        async with held_folder(tmp_path, told.append, ending_seconds=0.15):
            pytest.fail("two had it")
    assert len(told) == 1 and "waiting for the parts" in told[0]

    async def wait_for_it() -> None:
        async with held_folder(tmp_path, told.append):
            assert part.pid is None

    waiting = asyncio.create_task(wait_for_it())
    while len(told) < 2:
        await asyncio.sleep(0.01)
    await part.stop()
    await asyncio.wait_for(waiting, 10)
