"""Worker processes: run one picklable function at a time outside the node's process, and can be killed in the middle of it.

A worker is a fresh interpreter (never a fork: gRPC's threads do not survive one), kept warm between calls. Native code that
holds the interpreter lock, or a model that crashes, takes down the worker and nothing else.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import struct
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from nodekit.failure import TaskFailed
from nodekit.process.child import Child, Family, uninterrupted
from runtime.errors import PayloadTooLarge
from runtime.logs import get_logger

log = get_logger(__name__)

MAX_FRAME_BYTES = 256 * 1024 * 1024
"""Largest pickled call or result; what is larger belongs into a file."""
_MAIN = Path(__file__).with_name("worker_main.py")
_LENGTH = struct.Struct("!Q")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Wear:
    """When a worker has been used enough; zero: never."""

    growth_bytes: int = 0
    """Growth since its first call (of a model's process: since it was loaded)."""
    max_calls: int = 0


NO_WEAR = Wear()


class Worker:
    """One worker process. `async with Worker.running(family)` bounds its life."""

    def __init__(self, child: Child) -> None:
        self._child = child
        self.usable = True
        """Whether it waits for a call; False while it is in one, and for good after one was interrupted."""
        self.calls = 0
        """Calls that it was given."""
        self._rest_bytes = 0

    @staticmethod
    @asynccontextmanager
    async def running(family: Family) -> AsyncIterator[Worker]:
        """Start a worker; leaving the block ends it with all that it has started."""
        child = await family.start(
            # -P: the program's own folder must not become an import path, it holds nodekit's modules.
            [sys.executable, "-P", str(_MAIN)],
            stdin=True,
            stdout=True,
        )
        async with child.living():
            worker = Worker(child)
            await worker._send(pickle.dumps((sys.path, _main_module())))
            yield worker

    @property
    def alive(self) -> bool:
        """Whether the process runs, as far as the event loop has heard; one that waits for a call may be killed for its memory."""
        return self._child.program.returncode is None

    async def _send(self, body: bytes) -> None:
        if len(body) > MAX_FRAME_BYTES:
            raise PayloadTooLarge("the arguments of a worker call are too large; pass a file")
        await self._child.write(_LENGTH.pack(len(body)), body)

    async def call(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        how: Literal["call", "load", "use"] = "call",
    ) -> Any:
        """Run a function; raises what it raises. TaskFailed (WORKER_DIED) when the process ends in the middle.

        `load` keeps the result in the process in place of returning it; `use` puts what was kept before the other arguments.
        """
        async with self._talking(function):
            await self._ask(how, function, args, kwargs)
            answer = await self._receive()
        return self._finish(*answer)

    async def stream(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> AsyncGenerator[Any, None]:
        """Give what `function(model, …)` yields, as it yields it; raises as `call` does.

        The process waits in its next item while nobody asks for it; it is at most some two megabytes of items ahead. One whose
        items are not asked for to the end is not usable any more.
        """
        async with self._talking(function):
            await self._ask("stream", function, args, kwargs)
        while True:
            async with self._talking(function):
                outcome, value = await self._receive()
            if outcome != "item":
                self._finish(outcome, value)
                return
            yield value

    @asynccontextmanager
    async def _talking(self, function: Callable[..., Any]) -> AsyncIterator[None]:
        """Within the block, a process that ends raises TaskFailed (WORKER_DIED)."""
        try:
            yield
        except (asyncio.IncompleteReadError, BrokenPipeError):
            raise await self._died(function) from None

    async def _ask(
        self, how: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        call = pickle.dumps((how, function, args, kwargs), protocol=pickle.HIGHEST_PROTOCOL)
        self.usable = False
        self.calls += 1
        await self._send(call)

    def _finish(self, outcome: str, value: Any) -> Any:
        self.usable = True
        if self._rest_bytes == 0:
            self._rest_bytes = self.rss_bytes()
        if outcome == "error":
            raise value
        return value

    def rss_bytes(self) -> int:
        """Return the memory that the process has resident now; 0 when it is gone."""
        try:
            pages = int(Path(f"/proc/{self._child.program.pid}/statm").read_text().split()[1])
        except (OSError, IndexError):
            return 0
        return pages * _PAGE_BYTES

    def worn(self, wear: Wear) -> bool:
        """Whether it has done or grown enough to be replaced by a new one."""
        if wear.max_calls and self.calls >= wear.max_calls:
            return True
        return bool(wear.growth_bytes) and self.rss_bytes() - self._rest_bytes > wear.growth_bytes

    async def _died(self, function: Callable[..., Any]) -> TaskFailed:
        completed = await self._child.completed()
        log.error("worker died", returncode=completed.returncode, stderr=completed.stderr_tail[-2000:])
        code = completed.returncode
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        name = function_name(function)
        return TaskFailed("WORKER_DIED", f"the worker process ended by {how} during {name}", retryable=True)

    async def _receive(self) -> tuple[str, Any]:
        stdout = self._child.program.stdout
        assert stdout is not None
        (length,) = _LENGTH.unpack(await stdout.readexactly(_LENGTH.size))
        if length > MAX_FRAME_BYTES:
            raise PayloadTooLarge("the result of a worker call is too large; write it to a file")
        # The worker is our own child running our own code: its pickle is as trusted as it is.
        answer = pickle.loads(await stdout.readexactly(length))  # noqa: S301
        assert isinstance(answer, tuple)
        return answer


def function_name(function: Callable[..., Any]) -> str:
    """Return what to call a function that runs in a worker, also one with some of its arguments bound."""
    name: str = getattr(getattr(function, "func", function), "__qualname__", "a function")
    return name


def _main_module() -> str:
    """Return the name that `python -m` gave our main module; `__main__` when it was run as a file."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    return spec.name if spec is not None else "__main__"


@dataclass
class _Kept:
    worker: Worker
    family: Family
    life: AsyncExitStack
    expiry: asyncio.TimerHandle | None = None


class WorkerPool:
    """Warm workers of one replica, at most `limit`; further calls wait their turn.

    A worker belongs to one call at a time; one that was interrupted is ended, not reused.
    """

    def __init__(
        self,
        mark: str,
        idle_seconds: float,
        limit: int = 4,
        environment: Mapping[str, str] = MappingProxyType({}),
        wear: Wear = NO_WEAR,
    ) -> None:
        self._mark = mark
        self._wear = wear
        self._environment = environment
        self._turns = asyncio.Semaphore(limit)
        self._idle_seconds = idle_seconds
        self._idle: list[_Kept] = []
        self._ending: set[asyncio.Task[None]] = set()
        self._numbers = count()
        self.has_started = False
        """Whether there ever was a worker."""

    async def call(
        self, grace_seconds: Callable[[], float], function: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Any:
        """Run a function in a worker. Cancelling the call ends the worker's tree, with the grace asked for at that time."""
        async with self._turns:
            return await self._call(grace_seconds, function, args, kwargs)

    async def _call(
        self,
        grace_seconds: Callable[[], float],
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        kept = await self._take()
        try:
            result = await kept.worker.call(function, args, kwargs)
        except BaseException as error:
            if kept.worker.usable:
                await self._keep(kept)
            else:
                if isinstance(error, asyncio.CancelledError):
                    kept.family.grace_seconds = grace_seconds()
                await uninterrupted(kept.life.aclose())
            raise
        await self._keep(kept)
        return result

    async def _take(self) -> _Kept:
        while self._idle:
            kept = self._idle.pop()
            if kept.expiry is not None:
                kept.expiry.cancel()
            if kept.worker.alive:
                return kept
            await uninterrupted(kept.life.aclose())
        self.has_started = True
        mark = f"{self._mark}{next(self._numbers)}/"
        family = Family(mark, grace_seconds=0, environment=self._environment)
        life = AsyncExitStack()
        try:
            return _Kept(await life.enter_async_context(Worker.running(family)), family, life)
        except BaseException:
            await uninterrupted(family.end())
            raise

    async def _keep(self, kept: _Kept) -> None:
        if kept.worker.worn(self._wear):
            await uninterrupted(kept.life.aclose())
            return
        kept.expiry = asyncio.get_running_loop().call_later(self._idle_seconds, self._expire, kept)
        self._idle.append(kept)

    def _expire(self, kept: _Kept) -> None:
        self._idle.remove(kept)
        task = asyncio.create_task(kept.life.aclose())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def aclose(self) -> None:
        """End the idle workers; those at work end with their calls."""
        while self._idle:
            kept = self._idle.pop()
            if kept.expiry is not None:
                kept.expiry.cancel()
            await kept.life.aclose()
        await asyncio.gather(*self._ending)
