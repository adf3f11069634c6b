"""A process's life: settings, logs, event loop, signals, metrics endpoint, drain."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager

import uvloop

from runtime import VERSION
from runtime.certificate_age import publish_certificate_ends
from runtime.heap import keep_large_blocks, look_for_garbage_seldom
from runtime.logs import configure_logs, get_logger
from runtime.metrics import BUILD_INFO, DRAIN_BEGUN, DRAIN_LIMIT, metrics_endpoint, watch_loop_lag
from runtime.settings import RuntimeSection

log = get_logger(__name__)


_SAME_SECONDS = 0.5
"""Signals that follow each other so closely are one: the kernel repeats a parent's death for each of its threads, and what stops a
whole group of processes often tells each of them besides."""


class Shutdown:
    """Whether this process was told to stop. The first SIGTERM or SIGINT asks for a drain, a later one ends it at once."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._waiting = 0

    @property
    def is_awaited(self) -> bool:
        """Whether anybody waits for it at the moment, and so will act on it."""
        return self._waiting > 0

    @property
    def requested(self) -> bool:
        """True from the first signal on."""
        return self._event.is_set()

    def request(self) -> None:
        """Ask for the drain."""
        self._event.set()

    async def wait(self) -> None:
        """Wait until the drain is asked for."""
        self._waiting += 1
        try:
            await self._event.wait()
        finally:
            self._waiting -= 1


def run_process(
    name: str,
    settings: RuntimeSection,
    main: Callable[[Shutdown], Awaitable[None]],
    *,
    stays_seconds: float = 0.0,
) -> None:
    """Run a process until `main` returns; `main` drains when `shutdown.wait()` returns.

    `stays_seconds` is what `main` may wait for others before it drains for `runtime.drain_seconds`; monitoring is told the sum.

    A signal that finds it not waiting there, because it has not come so far, cancels it: a start must not wait on for another
    service. That is a good end, with exit code 0. What `main` raises is logged like every other line, and ends the process
    with exit code 1.
    """
    keep_large_blocks()
    look_for_garbage_seldom()
    configure_logs(name, level=settings.log_level, log_format=settings.log_format)
    with _told(name, settings):
        try:
            uvloop.run(_live(name, settings, main, settings.drain_seconds + stays_seconds))
        except Exception:
            log.critical("died", exc_info=True)
            raise SystemExit(1) from None


@contextmanager
def _told(name: str, settings: RuntimeSection) -> Iterator[None]:
    """Send traces and reports of errors where the settings say so; the code that does it is loaded only then."""
    with ExitStack() as stack:
        if settings.sentry_dsn and settings.sentry_dsn.get_secret_value():
            from runtime.error_reports import reporting

            stack.enter_context(reporting(settings.sentry_dsn))
        if settings.traces.endpoint:
            from runtime.span_export import exporting

            stack.enter_context(exporting(name, settings.traces))
        yield


async def _live(
    name: str, settings: RuntimeSection, main: Callable[[Shutdown], Awaitable[None]], limit_seconds: float
) -> None:
    shutdown = Shutdown()
    loop, life = asyncio.get_running_loop(), asyncio.current_task()
    assert life is not None
    first_time = 0.0
    is_broken_off = False

    def on_signal() -> None:
        nonlocal first_time, is_broken_off
        if shutdown.requested:
            if loop.time() - first_time < _SAME_SECONDS:
                return
            log.warning("told twice to stop; ending at once")
            os._exit(1)
        first_time = loop.time()
        DRAIN_BEGUN.set_to_current_time()
        if shutdown.is_awaited:
            log.info("told to stop; draining")
        else:
            log.info("told to stop before it was up")
            is_broken_off = life.cancel()
        shutdown.request()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    BUILD_INFO.labels(name, VERSION).set(1)
    DRAIN_LIMIT.set(limit_seconds)
    publish_certificate_ends(settings.tls)
    with metrics_endpoint(settings.metrics_listen) as port:
        log.info("started", pid=os.getpid(), metrics_port=port)
        lag = asyncio.create_task(watch_loop_lag())
        try:
            await main(shutdown)
        except asyncio.CancelledError:
            if not is_broken_off:
                raise
            life.uncancel()
        finally:
            lag.cancel()
    log.info("stopped")
