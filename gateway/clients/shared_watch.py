"""Lets any number of readers follow a task over one WatchTask call.

Each task that somebody reads has one shared watch: a call to the scheduler that feeds a ring of the latest events. A reader
is a position in the task's history. While what comes next for it lies in the ring, it takes it from there; when it does not
(its client resumed from further back, or is slower than the task) the reader fetches a bounded page by a call of its own,
at most so many at a time, and goes on. So 1,000 readers of one task cost one call, a slow client costs a page and never
makes another one wait, and what the scheduler no longer keeps comes to it as the scheduler's gap event.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass

from prometheus_client import Counter, Gauge

from gateway.clients.backend import Backend
from gateway.clients.event_ring import ByteBudget, EventRing, RingEvent
from gateway.clients.reconnect import Pause
from gateway.clients.task_watch import TaskWatch, is_rewind
from results.states import is_terminal
from runtime.errors import Internal, Unavailable, YiVideoError
from runtime.logs import get_logger

log = get_logger(__name__)

RING_EVENTS = 256
RING_BYTES = 256 * 1024
"""Latest events of one task that its readers share, at most; the newest is kept at any size."""
ALL_RINGS_BYTES = 64 * 1024 * 1024
"""All rings together; when it is used up, each still has its newest event and 16 KiB."""
PAGE_EVENTS = 64
PAGE_BYTES = 128 * 1024
"""What one reader that is behind holds, at most; plus one event, because an event is never cut."""
CATCH_UPS = 16
"""Calls to the scheduler for readers that are behind, at a time."""

_PAGE_SECONDS = 2.0
_EMPTY_PAGES_IN_A_ROW = 15
"""About half a minute without an answer of the scheduler; then the reader gets an error."""

SHARED = Gauge("yivideo_gateway_shared_watches", "Calls to the scheduler that readers of a task share.")
CATCHING_UP = Gauge("yivideo_gateway_catch_ups", "Calls to the scheduler for readers that are behind.")
CAUGHT_UP = Counter("yivideo_gateway_catch_up_pages_total", "Pages fetched for readers that were behind.")


class StreamsClosing(Exception):
    """Raised to readers when this process drains."""


@dataclass(frozen=True)
class Page:
    """What a reader that was behind is given."""

    events: list[RingEvent]
    ends: bool
    """Nothing follows."""
    answered: bool
    """The scheduler was there; without events: it had none."""


class _SharedWatch:
    """One task's call and ring. It ends with the terminal event, with an error, or with its last reader."""

    def __init__(self, watch: TaskWatch, ring: EventRing) -> None:
        self._watch = watch
        self.ring = ring
        self.readers = 0
        self.over = False
        self.error: YiVideoError | None = None
        self._changed = asyncio.Event()
        # The call belongs to no single request, so it carries nobody's ids.
        self.task = asyncio.create_task(self._run(), context=contextvars.Context())

    async def _run(self) -> None:
        try:
            async with aclosing(self._watch.events()) as events:
                async for event in events:
                    self.ring.append(event)
                    self.wake()
        except YiVideoError as error:
            self.error = error
        except Exception as error:
            log.error("a shared watch broke", exc_info=error)
            self.error = Internal("the events of this task cannot be followed")
        finally:
            self.over = True
            self.wake()

    def wake(self) -> None:
        """Let all readers look again."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def change(self) -> None:
        """Wait until there is something to look at."""
        await self._changed.wait()


class SharedWatches:
    """All watches of one gateway."""

    def __init__(self, backend: Backend, *, pause: Pause = asyncio.sleep) -> None:
        self._backend = backend
        self._pause = pause
        self._budget = ByteBudget(ALL_RINGS_BYTES)
        self._shared: dict[str, _SharedWatch] = {}
        self._catch_ups = asyncio.Semaphore(CATCH_UPS)
        self.closing = False

    @property
    def kept_bytes(self) -> int:
        """Serialised size of all events in rings."""
        return self._budget.used

    def close(self) -> None:
        """Tell every reader that this process drains."""
        self.closing = True
        for shared in self._shared.values():
            shared.wake()

    async def aclose(self) -> None:
        """End all calls."""
        self.close()
        tasks = [shared.task for shared in self._shared.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @contextmanager
    def reading(self, task_id: str, after: int, last_sequence: int) -> Iterator[Reader]:
        """Read a task's events after a sequence for the time of a block; `last_sequence` is the newest that the task has."""
        shared = self._join(task_id, after, last_sequence)
        reader = Reader(self, shared, task_id, after, known=after <= last_sequence)
        try:
            yield reader
        finally:
            reader.close()
            self._leave(task_id, shared)

    def _join(self, task_id: str, after: int, last_sequence: int) -> _SharedWatch:
        shared = self._shared.get(task_id)
        if shared is None or shared.over:
            # From the first reader's place, unless its history would not fit and must be paged anyhow.
            start = after if last_sequence - RING_EVENTS <= after <= last_sequence else last_sequence
            ring = EventRing(start, max_events=RING_EVENTS, max_bytes=RING_BYTES, budget=self._budget)
            shared = _SharedWatch(TaskWatch(self._backend, task_id, start, pause=self._pause), ring)
            self._shared[task_id] = shared
            SHARED.inc()
            shared.task.add_done_callback(lambda _: SHARED.dec())
        shared.readers += 1
        return shared

    def _leave(self, task_id: str, shared: _SharedWatch) -> None:
        shared.readers -= 1
        if shared.readers:
            return
        shared.task.cancel()
        shared.ring.clear()
        if self._shared.get(task_id) is shared:
            del self._shared[task_id]

    async def page(self, task_id: str, after: int, enough: Callable[[int], bool]) -> Page:
        """Fetch what follows a sequence for a reader that is behind, until `enough` says so of the sequence reached."""
        events: list[RingEvent] = []
        size = 0
        watch = TaskWatch(self._backend, task_id, after, pause=self._pause)
        async with self._catch_ups:
            CAUGHT_UP.inc()
            with CATCHING_UP.track_inprogress():
                try:
                    async with asyncio.timeout(_PAGE_SECONDS), aclosing(watch.events()) as events_there:
                        async for event in events_there:
                            events.append(RingEvent.of(event))
                            size += events[-1].size_bytes
                            if is_terminal(event):
                                return Page(events, ends=True, answered=True)
                            if len(events) >= PAGE_EVENTS or size >= PAGE_BYTES or enough(watch.sequence):
                                return Page(events, ends=False, answered=True)
                except TimeoutError:
                    return Page(events, ends=False, answered=watch.failures == 0)
        return Page(events, ends=True, answered=True)


class Reader:
    """One client's place in one task's history. `next()` may be cancelled at any time without losing an event."""

    def __init__(
        self, watches: SharedWatches, shared: _SharedWatch, task_id: str, after: int, *, known: bool
    ) -> None:
        self._watches = watches
        self._shared = shared
        self._task_id = task_id
        self._number: int | None = None
        self._page: deque[RingEvent] = deque()
        self._fetch: asyncio.Task[Page] | None = None
        self._fetched_at = 0
        self._empty_pages = 0
        self._known_at = shared.ring.rewinds if known else -1
        """The count of rewinds under which this place was known to be one; under another it may not be."""
        self.sequence = after
        """Sequence up to which everything was handed out, or named in a gap."""
        self.over = False
        """Whether the terminal event was handed out, or there is none left to hand out."""

    async def next(self) -> RingEvent | None:
        """Return the next event; None when the task has ended and everything was handed out.

        Raises StreamsClosing, TaskNotFound when the task is deleted meanwhile, Unavailable when the scheduler stays away.
        """
        while not self.over:
            if self._watches.closing:
                raise StreamsClosing
            if (entry := self.next_nowait()) is not None:
                return entry
            await self._wait()
        return None

    def next_nowait(self) -> RingEvent | None:
        """Return the next event when it lies here; None when it does not."""
        if self.over:
            return None
        entry = self._from_page() or self._from_ring()
        if entry is not None:
            self.over = is_terminal(entry.event)
        return entry

    def close(self) -> None:
        """Give up what is being fetched."""
        if self._fetch is not None:
            self._fetch.cancel()
            self._fetch.add_done_callback(lambda fetch: fetch.cancelled() or fetch.exception())

    def _from_page(self) -> RingEvent | None:
        if not self._page:
            return None
        entry = self._page.popleft()
        if is_rewind(entry.event):
            self.sequence = entry.event.gap.snapshot.last_sequence
        self.sequence = max(self.sequence, entry.last)
        return entry

    def _from_ring(self) -> RingEvent | None:
        ring = self._shared.ring
        if self._number is None or self._number < ring.begin:
            self._number = ring.locate(self.sequence)
        if self._number is None or self._number >= ring.end:
            return None
        entry = ring.get(self._number)
        self._number += 1
        self.sequence = max(self.sequence, entry.last)
        return entry

    async def _wait(self) -> None:
        shared = self._shared
        if shared.error is not None:
            raise shared.error.with_traceback(None)
        ahead = self.sequence > shared.ring.head and self._known_at == shared.ring.rewinds
        if self._fetch is None and not shared.over and (self._number is not None or ahead):
            await shared.change()
        else:
            await self._turn_page()

    async def _turn_page(self) -> None:
        if self._fetch is None:
            self._fetched_at = self._shared.ring.rewinds
            self._fetch = asyncio.create_task(
                self._watches.page(self._task_id, self.sequence, self._is_kept), context=contextvars.Context()
            )
        if not self._fetch.done():
            await asyncio.wait((self._fetch,))  # cancelling this wait lets the fetch go on
        page, self._fetch = self._fetch.result(), None
        self._page.extend(page.events)
        self._number = None
        self.over = page.ends and not page.events
        if page.answered:
            self._known_at = self._fetched_at
            self._empty_pages = 0
            return
        self._empty_pages += 1
        if self._empty_pages >= _EMPTY_PAGES_IN_A_ROW:
            raise Unavailable("the scheduler cannot be reached")

    def _is_kept(self, sequence: int) -> bool:
        """Whether the ring has what follows a sequence."""
        return self._shared.ring.locate(sequence) is not None
