"""A plain asyncio `Runner`, so that the engines are tested without a node around them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Ended:
    """How a process ended."""

    returncode: int
    stderr_tail: str


class LocalRunner:
    """Runs children of the test process and remembers what was run."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self.lines: list[str] = []

    async def run(
        self,
        argv: Sequence[str],
        *,
        timeout_seconds: float | None = None,
        cwd: Path | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> Ended:
        self.commands.append(list(argv))
        process = await asyncio.create_subprocess_exec(
            *argv, cwd=cwd, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, limit=1 << 20
        )
        assert process.stdout and process.stderr
        try:
            stderr = asyncio.create_task(process.stderr.read())
            async for line in process.stdout:
                self.lines.append(line.decode().rstrip("\n"))
                if on_line:
                    on_line(self.lines[-1])
            return Ended(await process.wait(), (await stderr).decode(errors="replace")[-8000:])
        except BaseException:
            if process.returncode is None:
                process.kill()
                await process.wait()
            await stderr
            raise

    async def call(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        return await asyncio.to_thread(function, *args, **kwargs)

    def count(self, program: str) -> int:
        """How many times a program was started."""
        return sum(command[0] == program for command in self.commands)
