"""Programs: started without fork handlers, awaited without a child watcher, piped into the event loop.

Not `asyncio.create_subprocess_exec`: uvloop starts it by fork(2), which runs gRPC's fork handlers, and those can deadlock in the
child before it ever becomes the program (seen with grpcio 1.76 and uvloop 0.23). `subprocess.Popen` uses vfork, which runs none and
does not copy the page tables of a large node. It also lets us wait for the exit alone: asyncio's `wait` waits for the pipes too,
which a grandchild may hold open for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

STREAM_LIMIT_BYTES = 1024 * 1024
"""What is buffered of a pipe before its writer has to wait."""


@functools.cache
def dying_with_us(signal_name: str) -> tuple[str, ...]:
    """Return the command prefix that has the kernel send a program this signal when we end; empty where util-linux is missing.

    It must be started from the main thread: the kernel ties it to the thread.
    """
    found = shutil.which("setpriv")
    return (found, "--pdeathsig", signal_name, "--") if found else ()


class Program:
    """One running program, leader of a session of its own; this process is the one that reaps it."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self._popen = popen
        self._exited = asyncio.Event()
        self._transports: list[asyncio.BaseTransport] = []
        self.stdin: asyncio.StreamWriter | None = None
        self.stdout: asyncio.StreamReader | None = None
        self.stderr: asyncio.StreamReader | None = None
        self._handle = os.pidfd_open(popen.pid)
        asyncio.get_running_loop().add_reader(self._handle, self._reap)

    @classmethod
    async def start(
        cls,
        argv: Sequence[str],
        *,
        stdin: bool = False,
        stdout: bool = False,
        stderr: bool = True,
        log: IO[bytes] | None = None,
        cwd: Path | None = None,
        environment: Mapping[str, str],
        pass_fds: Sequence[int] = (),
    ) -> Program:
        """Start a program. What is not piped reads nothing and writes to `log`; without one, nowhere, and errors to ours.

        `pass_fds`: open files that it inherits under their numbers. Raises OSError when it cannot be run.
        """
        unpiped = log.fileno() if log else subprocess.DEVNULL
        popen = subprocess.Popen(  # noqa: ASYNC220 - vfork holds us for a millisecond; a thread would break PDEATHSIG
            argv,
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE if stdout else unpiped,
            stderr=subprocess.PIPE if stderr else (unpiped if log else None),
            cwd=cwd,
            env=environment,
            start_new_session=True,
            bufsize=0,
            pass_fds=tuple(pass_fds),
        )
        program = cls(popen)
        try:
            await program._connect()
        except BaseException:
            popen.kill()
            popen.wait()
            program._forget_handle()
            program.close()
            raise
        return program

    async def _connect(self) -> None:
        self.stdout = await self._reading(self._popen.stdout)
        self.stderr = await self._reading(self._popen.stderr)
        if self._popen.stdin is not None:
            loop = asyncio.get_running_loop()
            transport, protocol = await loop.connect_write_pipe(_new_protocol, self._popen.stdin)
            self._transports.append(transport)
            self.stdin = asyncio.StreamWriter(transport, protocol, None, loop)

    async def _reading(self, pipe: IO[bytes] | None) -> asyncio.StreamReader | None:
        if pipe is None:
            return None
        reader = asyncio.StreamReader(STREAM_LIMIT_BYTES)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), pipe
        )
        self._transports.append(transport)
        return reader

    def _reap(self) -> None:
        if self._popen.poll() is not None:
            self._forget_handle()
            self._exited.set()

    def _forget_handle(self) -> None:
        if self._handle >= 0:
            asyncio.get_running_loop().remove_reader(self._handle)
            os.close(self._handle)
            self._handle = -1

    @property
    def pid(self) -> int:
        """Process id; also its session's."""
        return self._popen.pid

    @property
    def returncode(self) -> int | None:
        """How it ended (negative: by that signal); None while it runs, or until the event loop has heard of it."""
        return self._popen.returncode

    async def wait(self) -> int:
        """Wait for its exit, whatever is still in its pipes."""
        await self._exited.wait()
        assert self._popen.returncode is not None
        return self._popen.returncode

    def close(self) -> None:
        """Close our ends of its pipes; unread output is lost."""
        for transport in self._transports:
            with contextlib.suppress(RuntimeError):  # uvloop, when it is closed already
                transport.close()


def _new_protocol() -> asyncio.StreamReaderProtocol:
    """Return a protocol for a pipe that we write: it brings the flow control that StreamWriter needs."""
    return asyncio.StreamReaderProtocol(asyncio.StreamReader())
