"""One process of the stack: how it is started, when it is ready, how it is stopped."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from runtime.logs import get_logger
from runtime.program import Program, dying_with_us
from stack.cause import cause_of

log = get_logger(__name__)

Probe = Callable[[], Awaitable[bool]]
"""Answers whether a part serves; may be called often. Raises PartFailed when no wait would mend what it sees, else nothing."""

_PROBE_PERIOD_SECONDS = 0.05
_LOG_BYTES = 64 * 1024


class PartFailed(Exception):
    """A part ended, or was not ready in time; the message has its own last words."""


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
    tier: int | None = None
    """How much others rest on it: parts are stopped by growing tier, those of one tier side by side; None: against the order of
    their start."""
    stop_seconds: float = 25.0
    """Time that it has to drain before it is killed."""


def python_part(
    name: str,
    module: str,
    probe: Probe,
    environment: Mapping[str, str],
    *,
    interpreter: str = sys.executable,
    ready_seconds: float = 30.0,
    optional: bool = False,
    tier: int | None = None,
    stop_seconds: float = 25.0,
) -> PartSpec:
    """Describe a part that is one of our own processes."""
    argv = (interpreter, "-m", module)
    return PartSpec(name, argv, probe, environment, ready_seconds, optional, tier, stop_seconds)


class Part:
    """A part that runs. Its log is a file; it dies with the stack even when the stack is killed."""

    def __init__(self, spec: PartSpec, log_file: Path, inherited: Sequence[int] = ()) -> None:
        """`inherited`: open files that it holds for as long as it runs."""
        self.spec = spec
        self._log_file = log_file
        self._inherited = tuple(inherited)
        self._log_begin = 0
        self._program: Program | None = None

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._program.pid if self._program and self._program.returncode is None else None

    async def start(self) -> None:
        """Start the process and wait until it is ready. Raises PartFailed."""
        with self._log_file.open("ab") as output:
            self._log_begin = output.tell()
            # In a session of its own: Ctrl-C in a terminal goes to the whole foreground group, and the stack stops its
            # parts in its own order.
            try:
                self._program = await Program.start(
                    [*dying_with_us("TERM"), *self.spec.argv],
                    stderr=False,
                    log=output,
                    environment={**os.environ, **self.spec.environment},
                    pass_fds=self._inherited,
                )
            except OSError as error:
                raise PartFailed(
                    f"{self.spec.name}: {self.spec.argv[0]} cannot be run: {error.strerror}"
                ) from None
        try:
            async with asyncio.timeout(self.spec.ready_seconds):
                await self._wait_ready(self._program)
        except TimeoutError:
            await self.stop()
            raise PartFailed(
                f"{self.spec.name} was not ready in {self.spec.ready_seconds:g} s: {self.cause()}"
            ) from None
        except PartFailed:
            await self.stop()
            raise

    async def _wait_ready(self, program: Program) -> None:
        while not await self.spec.probe():
            if program.returncode is not None:
                raise PartFailed(
                    f"{self.spec.name} ended while it started ({_said(program.returncode)}): {self.cause()}"
                )
            await asyncio.sleep(_PROBE_PERIOD_SECONDS)

    async def wait(self) -> int:
        """Wait until the process ends; gives its exit status."""
        assert self._program is not None
        return await self._program.wait()

    async def stop(self) -> bool:
        """SIGTERM, wait for its drain, then SIGKILL what is left of its session; whether it drained in time."""
        if self._program is None or self._program.returncode is not None:
            return True
        os.kill(self._program.pid, signal.SIGTERM)
        try:
            await asyncio.wait_for(self._program.wait(), self.spec.stop_seconds)
        except TimeoutError:
            log.warning("killing a part that did not drain", part=self.spec.name)
            os.killpg(self._program.pid, signal.SIGKILL)
            await self._program.wait()
            return False
        return True

    def cause(self) -> str:
        """Return what it said last since its start, and where the rest is."""
        with self._log_file.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            # A file that was rotated meanwhile is shorter than it was.
            file.seek(max(self._log_begin if self._log_begin <= size else 0, size - _LOG_BYTES))
            text = file.read().decode(errors="replace")
        return f"{cause_of(text)}\n    log: {self._log_file}"


def _said(returncode: int) -> str:
    return f"exit status {returncode}" if returncode >= 0 else f"killed by {signal.Signals(-returncode).name}"
