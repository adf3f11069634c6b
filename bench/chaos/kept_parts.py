"""Parts that are kept alive as a supervisor would, and every process that came of them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from nodekit.process.process_tree import MARK_VARIABLE
from stack.part import Part, PartFailed, PartSpec

INSTALLATION_VARIABLE = "CHAOS_INSTALLATION"
"""In the environment of every process of the installation: what is left of it can be found."""
DOWN_SECONDS = 0.3


class KeptParts:
    """All parts of an installation in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.parts: dict[str, Part] = {}
        self.may_run = asyncio.Event()
        """Whether a part that ended is started again."""
        self.may_run.set()
        self._down: dict[str, float] = {}
        self._keepers: list[asyncio.Task[None]] = []

    @asynccontextmanager
    async def stages(self, stages: Iterable[Sequence[PartSpec]]) -> AsyncIterator[None]:
        """Have all parts up for the time of the block, one stage after the other; from `keep` on they are started again."""
        (self.folder / "logs").mkdir(parents=True, exist_ok=True)
        async with AsyncExitStack() as undo:
            for stage in stages:
                started = {spec.name: Part(spec, self.folder / "logs" / f"{spec.name}.log") for spec in stage}
                undo.push_async_callback(_stop_all, list(started.values()))
                await asyncio.gather(*(part.start() for part in started.values()))
                self.parts |= started
            try:
                yield
            finally:
                for keeper in self._keepers:
                    keeper.cancel()
                await asyncio.gather(*self._keepers, return_exceptions=True)

    def keep(self) -> None:
        """From now on start again what ends."""
        self._keepers += [asyncio.create_task(self._keep(part)) for part in self.parts.values()]

    async def _keep(self, part: Part) -> None:
        while True:
            await part.wait()
            await asyncio.sleep(self._down.pop(part.spec.name, DOWN_SECONDS))
            await self.may_run.wait()
            with contextlib.suppress(PartFailed):  # it is tried again
                await part.start()

    def signal(self, name: str, number: signal.Signals, down_seconds: float = DOWN_SECONDS) -> int | None:
        """Signal a part; gives its pid, None when it does not run. One that dies of it stays away for so long."""
        pid = self.parts[name].pid
        if pid is not None:
            self._down[name] = down_seconds
            os.kill(pid, number)
        return pid

    def holds(self, pid: int) -> bool:
        """Whether a process was started, by whomever, in this installation."""
        return f"{INSTALLATION_VARIABLE}={self.folder}\0".encode() in _environment_of(pid)

    def processes(self) -> set[int]:
        """Find every living process of this installation, reapers and what tasks have started included."""
        pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal())
        return {pid for pid in pids if self.holds(pid)}

    def trees(self) -> set[int]:
        """Find what attempts have started; warm workers, which wait for the next one, are left out."""
        mark = f"\0{MARK_VARIABLE}=".encode()
        marks = {pid: (b"\0" + _environment_of(pid)).partition(mark)[2] for pid in self.processes()}
        return {pid for pid, value in marks.items() if value and b"/worker-" not in value.split(b"\0")[0]}


async def _stop_all(parts: list[Part]) -> None:
    await asyncio.gather(*(part.stop() for part in parts))


def _environment_of(pid: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/environ").read_bytes()
    return b""
