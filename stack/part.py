"""One process of the stack: how it is started, when it is ready, how it is stopped."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from runtime.logs import get_logger
from runtime.program import Program, dying_with_us

log = get_logger(__name__)

Probe = Callable[[], Awaitable[bool]]
"""Answers whether a part serves; may be called often, and never raises."""

_PROBE_PERIOD_SECONDS = 0.05
_STOP_SECONDS = 15.0


class PartFailed(Exception):
    """A part ended, or was not ready in time; the message shows the end of its log."""


@dataclass(frozen=True)
class PartSpec:
    """What a part is."""

    name: str
    argv: tuple[str, ...]
    probe: Probe
    environment: Mapping[str, str] = field(default_factory=dict)
    ready_seconds: float = 30.0
    optional: bool = False
    """Whether the rest goes on when it does not start; it is tried again then."""


def python_part(
    name: str,
    module: str,
    probe: Probe,
    environment: Mapping[str, str],
    *,
    interpreter: str = sys.executable,
    ready_seconds: float = 30.0,
    optional: bool = False,
) -> PartSpec:
    """Describe a part that is one of our own processes."""
    return PartSpec(name, (interpreter, "-m", module), probe, environment, ready_seconds, optional)


class Part:
    """A part that runs. Its log is a file; it dies with the stack even when the stack is killed."""

    def __init__(self, spec: PartSpec, log_file: Path) -> None:
        self.spec = spec
        self._log_file = log_file
        self._program: Program | None = None

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._program.pid if self._program and self._program.returncode is None else None

    async def start(self) -> None:
        """Start the process and wait until it is ready. Raises PartFailed."""
        with self._log_file.open("ab") as output:
            # In a session of its own: Ctrl-C in a terminal goes to the whole foreground group, and the stack stops its
            # parts in its own order.
            self._program = await Program.start(
                [*dying_with_us("TERM"), *self.spec.argv],
                stderr=False,
                log=output,
                environment={**os.environ, **self.spec.environment},
            )
        try:
            async with asyncio.timeout(self.spec.ready_seconds):
                while not await self.spec.probe():
                    if self._program.returncode is not None:
                        raise PartFailed(f"{self.spec.name} ended while it started:\n{self.log_tail()}")
                    await asyncio.sleep(_PROBE_PERIOD_SECONDS)
        except TimeoutError:
            await self.stop()
            raise PartFailed(
                f"{self.spec.name} was not ready in {self.spec.ready_seconds:g} s:\n{self.log_tail()}"
            ) from None

    async def wait(self) -> int:
        """Wait until the process ends; gives its exit status."""
        assert self._program is not None
        return await self._program.wait()

    async def stop(self) -> None:
        """SIGTERM, wait for its drain, then SIGKILL what is left of its session."""
        if self._program is None or self._program.returncode is not None:
            return
        os.kill(self._program.pid, signal.SIGTERM)
        try:
            await asyncio.wait_for(self._program.wait(), _STOP_SECONDS)
        except TimeoutError:
            log.warning("killing a part that did not drain", part=self.spec.name)
            os.killpg(self._program.pid, signal.SIGKILL)
            await self._program.wait()

    def log_tail(self, lines: int = 15) -> str:
        """Return the last lines of its log."""
        text = self._log_file.read_bytes()[-16_384:].decode(errors="replace")
        return "\n".join(text.splitlines()[-lines:])
