"""Laws of worker processes."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator

import pytest

from nodekit.failure import TaskFailed
from nodekit.process.worker import WorkerPool
from tests.nodekit.conftest import LOOPS, eventually, is_alive
from tests.nodekit.worker_calls import double, fail_oddly, fail_plainly, linger, return_a_lock, worker_pid


@pytest.fixture(params=LOOPS)
def event_loop_policy(request: pytest.FixtureRequest) -> asyncio.AbstractEventLoopPolicy:
    return LOOPS[request.param]()


@pytest.fixture
async def pool() -> AsyncIterator[WorkerPool]:
    made = WorkerPool(f"test-{os.getpid()}-{time.monotonic_ns()}/", idle_seconds=60)
    yield made
    await made.aclose()


def grace() -> float:
    return 0.2


async def test_call_returns_what_the_function_returns(pool: WorkerPool) -> None:
    """Arguments and result travel whole; what the function prints does not disturb them; it runs in another process."""
    assert await pool.call(grace, double, [1, 2], plus=1) == [3, 5]
    assert await pool.call(grace, worker_pid) != os.getpid()


async def test_worker_stays_warm(pool: WorkerPool) -> None:
    """The next call finds the same process, and two at once have one each."""
    first = await pool.call(grace, worker_pid)
    assert await pool.call(grace, worker_pid) == first
    await asyncio.gather(pool.call(grace, linger, 0.2), pool.call(grace, linger, 0.2))
    assert await pool.call(grace, worker_pid) > 0


async def test_large_values_travel(pool: WorkerPool) -> None:
    """Some megabytes each way do not block."""
    values = list(range(1_000_000))
    assert (await pool.call(grace, double, values))[-1] == 1_999_998


async def test_exceptions_come_back(pool: WorkerPool) -> None:
    """An exception is raised here as its own class, with the worker's traceback as a note; the worker lives on."""
    pid = await pool.call(grace, worker_pid)
    with pytest.raises(ZeroDivisionError) as raised:
        await pool.call(grace, fail_plainly)
    assert "fail_plainly" in raised.value.__notes__[0]
    with pytest.raises(RuntimeError, match="NeedsTwo: 1 and 2"):
        await pool.call(grace, fail_oddly)
    with pytest.raises(Exception, match="pickle"):
        await pool.call(grace, return_a_lock)
    with pytest.raises((AttributeError, TypeError)):
        await pool.call(grace, lambda: None)
    assert await pool.call(grace, worker_pid) == pid


async def test_cancelled_call_ends_its_worker(pool: WorkerPool) -> None:
    """A worker whose call was cancelled is dead when the cancellation is through, and is not used again."""
    pid = await pool.call(grace, worker_pid)
    call = asyncio.create_task(pool.call(grace, linger, 600))
    await asyncio.sleep(0.05)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert not is_alive(pid)
    assert await pool.call(grace, worker_pid) != pid


async def test_number_of_workers_is_bounded() -> None:
    """More calls at once than workers allowed wait their turn."""
    pool = WorkerPool(f"few-{os.getpid()}-{time.monotonic_ns()}/", idle_seconds=60, limit=1)
    pids = await asyncio.gather(*(pool.call(grace, worker_pid) for _ in range(5)))
    assert len(set(pids)) == 1
    await pool.aclose()


async def test_idle_worker_is_ended() -> None:
    """A worker without work is ended after its idle time."""
    pool = WorkerPool(f"idle-{os.getpid()}/", idle_seconds=0.05)
    pid = await pool.call(grace, worker_pid)
    await eventually(lambda: not is_alive(pid))
    assert await pool.call(grace, worker_pid) != pid
    await pool.aclose()


async def test_error_of_a_task_survives_the_way() -> None:
    """TaskFailed keeps code, field and retryable through pickle."""
    import pickle

    error = pickle.loads(pickle.dumps(TaskFailed("A_CODE", "text", True, "/field")))
    assert (error.code, error.message, error.retryable, error.field) == ("A_CODE", "text", True, "/field")
    with pytest.raises(ValueError, match="error code"):
        TaskFailed("not a code", "text")


async def test_worker_that_died_while_idle_is_replaced(pool: WorkerPool) -> None:
    """A worker that is killed between two calls costs the next call nothing."""
    pid = await pool.call(grace, worker_pid)
    (kept,) = pool._idle
    os.kill(pid, 9)
    await eventually(lambda: not kept.worker.alive)
    assert await pool.call(grace, worker_pid) != pid
