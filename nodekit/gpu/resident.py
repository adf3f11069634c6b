"""A resident: one loaded model in a worker process of its own, which outlives the task that loaded it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, aclosing
from typing import Any

from nodekit.failure import TaskFailed
from nodekit.gpu.holding import Holding
from nodekit.gpu.lease_scope import LeaseScope
from nodekit.gpu.metrics import MODEL_LOAD_SECONDS, MODEL_RUN_SECONDS, model_label
from nodekit.process.worker import Wear, Worker


class Resident:
    """One model; `holding` is the lease under which it is on the device now, None on the processor."""

    def __init__(self, key: str, holding: Holding | None, scope: LeaseScope) -> None:
        self.key = key
        self.holding = holding
        self.scope = scope
        self.load_seconds = 0.0
        """How long loading took."""
        self.used_time = 0.0
        """When it was used last, on the monotonic clock."""
        self.ending: asyncio.Task[str] | None = None
        """Its end, once begun; gives the code of a refused release."""
        self._life = AsyncExitStack()
        self._worker: Worker | None = None
        self._turn = asyncio.Lock()

    async def load(self, load: Callable[[], Any]) -> None:
        """Start the process and load the model; raises what loading raises."""
        began = time.monotonic()
        self._worker = await self._life.enter_async_context(Worker.running(self.scope.family))
        await self._worker.call(load, (), {}, "load")
        self.load_seconds = time.monotonic() - began
        MODEL_LOAD_SECONDS.labels(model_label(self.key)).observe(self.load_seconds)

    @property
    def usable(self) -> bool:
        """Whether the process lives and waits for a call."""
        return self._worker is not None and self._worker.usable and self._worker.alive

    async def run(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a function with the model, one at a time; raises what it raises, and TaskFailed (WORKER_DIED) when the process
        is gone or was interrupted in a call before.
        """
        async with self._turn:
            with MODEL_RUN_SECONDS.labels(model_label(self.key)).time():
                return await self._ready().call(function, args, kwargs, "use")

    async def stream(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> AsyncGenerator[Any, None]:
        """Give what a function yields with the model; raises as `run` does. Left before its end, it has the process killed."""
        async with self._turn:
            worker = self._ready()
            try:
                with MODEL_RUN_SECONDS.labels(model_label(self.key)).time():
                    async with aclosing(worker.stream(function, args, kwargs)) as items:
                        async for item in items:
                            yield item
            finally:
                if not worker.usable:
                    self.scope.kill()

    def worn(self, wear: Wear) -> bool:
        """Whether the process has done or grown enough to be replaced."""
        return self._worker is not None and self._worker.worn(wear)

    def _ready(self) -> Worker:
        if self._worker is None or not self.usable:
            raise TaskFailed("WORKER_DIED", "the model's process was ended or interrupted", retryable=True)
        return self._worker

    async def end(self) -> None:
        """End the process; its memory is free when this returns."""
        self.scope.kill()
        # One after the other: who looks for a tree and for its worker at once looks through all processes twice, by turns.
        await self.scope.killed()
        await self._life.aclose()
        await self.scope.close()
