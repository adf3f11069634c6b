"""The attempts that are on this replica: slots, fences, what ended a while ago, and the drain."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import count

from nodekit.attempt.assignment import read_request, same_payload, to_assignment
from nodekit.attempt.attempt import Attempt, Stop
from nodekit.attempt.execution import Workshop
from nodekit.attempt.kept_ends import KeptEnd, KeptEnds
from nodekit.attempt.past_attempt import PastAssignment, PastAttempt
from nodekit.attempt.retention import Retention
from nodekit.metrics import FREE_SLOTS, SLOTS
from nodekit.node import Node
from runtime.errors import Draining, InvalidArgument, NoFreeSlot, StaleFence, TaskConflict, TaskNotFound
from runtime.logs import get_logger
from yivideo.task.v1 import task_pb2

log = get_logger(__name__)


class AttemptTable:
    """At most one current attempt per task; those that have ended are kept for a while (see `nodekit.attempt.retention`)."""

    def __init__(
        self,
        node: Node,
        workshop: Workshop,
        kept_ends: KeptEnds | None = None,
        past: Sequence[KeptEnd] = (),
    ) -> None:
        """`kept_ends`: where to write how the last attempts ended; `past`: those of earlier processes."""
        self._node = node
        self._workshop = workshop
        self._kept_ends = kept_ends
        self._running: dict[str, Attempt] = {}
        self._ended: Retention[Attempt | PastAttempt] = Retention(
            workshop.settings.retain_seconds, asyncio.get_running_loop().time
        )
        for end in past:
            attempt = PastAttempt(
                end.assignment, list(end.events), workshop.settings.heartbeat_seconds, self._changed_attempt
            )
            self._ended.keep(attempt, read=False)
        self._numbers = count(1)
        self.slots = workshop.settings.slots or node.slots
        self.draining = False
        self.changed = asyncio.Event()
        """Set, and replaced by a new one, at every change that WatchNode shows."""
        SLOTS.labels(node.name).set(self.slots)
        self._free_slots = FREE_SLOTS.labels(node.name)
        self._notify()

    @property
    def free_slots(self) -> int:
        """Attempts that could start now; 0 while draining."""
        return 0 if self.draining else max(0, self.slots - len(self._running))

    @property
    def warm_models(self) -> list[str]:
        """Models that are loaded."""
        return self._workshop.shelf.loaded

    def unread(self) -> list[Attempt | PastAttempt]:
        """Return the attempts that run, or have ended and not told it to anybody yet."""
        return [*self._running.values(), *self._ended.unread()]

    def _here(self, task_id: str) -> Attempt | PastAttempt | None:
        return self._running.get(task_id) or self._ended.find(task_id)

    def find(self, task_id: str, attempt: int = 0, fence: int = 0) -> Attempt | PastAttempt:
        """Return the current attempt at a task (0: whichever number and fence it has). Raises TaskNotFound."""
        found = self._here(task_id)
        told = None if found is None else found.assignment
        if found is None or told is None or attempt not in (0, told.attempt) or fence not in (0, told.fence):
            raise TaskNotFound(f"the task {task_id} is not on this node")
        return found

    def _notify(self) -> None:
        self._free_slots.set(self.free_slots)
        self.changed.set()
        self.changed = asyncio.Event()

    def attach_or_start(self, request: task_pb2.RunTaskRequest) -> Attempt | PastAttempt:
        """Return the attempt that a request means: the one that is here, or a new one. Does not wait.

        A newer attempt ends the one that is here and begins when that is gone. Raises StaleFence for an older one, TaskConflict for
        another payload, TaskNotFound when `attach_only` finds nothing, Draining, NoFreeSlot, and the errors of a bad request.
        """
        request = read_request(request)
        here = self._here(request.spec.task_id)
        if here is not None and _is_same(here, request):
            return here
        if request.attach_only:
            raise TaskNotFound(
                f"attempt {request.attempt} of the task {request.spec.task_id} is not on this node"
            )
        _refuse_late(request)
        if self.draining:
            raise Draining("this node is shutting down")
        assignment = to_assignment(self._node, request)
        predecessor = here if isinstance(here, Attempt) and not here.ended else None
        if predecessor is None and self.free_slots == 0:
            raise NoFreeSlot(f"all {self.slots} slots of this node are taken", retry_after_seconds=1)
        attempt = Attempt(assignment, self._workshop, next(self._numbers), self._changed_attempt)
        self._ended.drop(attempt.task_id)
        self._running[attempt.task_id] = attempt
        attempt.start(predecessor)
        self._notify()
        return attempt

    def _changed_attempt(self, attempt: Attempt | PastAttempt) -> None:
        """An attempt has ended, or its end was read. One that a newer attempt has replaced is forgotten at once."""
        task_id = attempt.task_id
        if isinstance(attempt, Attempt) and self._running.get(task_id) is attempt:
            del self._running[task_id]
            self._ended.keep(attempt, read=attempt.read)
        elif self._ended.find(task_id) is attempt:
            self._ended.keep(attempt, read=True)
        self._notify()

    def begin_drain(self) -> None:
        """Take nothing new from now on."""
        self.draining = True
        for attempt in self._running.values():
            attempt.draining = True
        self._notify()

    async def drain(self, grace_seconds: float, read_seconds: float = 5.0) -> None:
        """Let running attempts finish within the grace, hand back the others, and wait a little until all ends were read."""
        self.begin_drain()
        began = list(self._running.values())
        await self._settled(lambda: not self._running, grace_seconds)
        left = list(self._running.values())
        for attempt in left:
            attempt.stop(Stop.DRAIN)
        if left:
            log.info("attempts are handed back", count=len(left))
        await asyncio.gather(*(attempt.wait_ended() for attempt in left))
        await self._keep_ends(began)
        await self._settled(lambda: all(attempt.read for attempt in began), read_seconds)

    async def _keep_ends(self, attempts: Iterable[Attempt]) -> None:
        """Write down how these ended, and what else nobody has read."""
        if self._kept_ends is None:
            return
        unread = [attempt for attempt in self._ended.unread() if isinstance(attempt, Attempt)]
        ends = [_to_kept(attempt) for attempt in dict.fromkeys([*attempts, *unread])]
        await asyncio.to_thread(self._kept_ends.write, ends)

    async def _settled(self, condition: Callable[[], bool], seconds: float) -> None:
        """Wait until the condition holds, at most so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not condition():
                    await self.changed.wait()


def _to_kept(attempt: Attempt) -> KeptEnd:
    told = attempt.assignment
    return KeptEnd(PastAssignment(told.spec, told.attempt, told.fence), attempt.events.after(0))


def _refuse_late(request: task_pb2.RunTaskRequest) -> None:
    """Raise StaleFence for a start that was so long on its way that the attempt may be given up by now."""
    if not request.HasField("latest_start_time"):
        return
    try:
        latest = request.latest_start_time.ToNanoseconds() / 1e9
    except ValueError:
        raise InvalidArgument.at("/latest_start_time", "not a time") from None
    late_seconds = time.time() - latest
    if late_seconds > 0:
        raise StaleFence(
            f"the start of attempt {request.attempt} of the task {request.spec.task_id} came {late_seconds:.1f} s too late, "
            "or our clock is wrong"
        )


def _is_same(here: Attempt | PastAttempt, request: task_pb2.RunTaskRequest) -> bool:
    """Whether a request means the attempt that is here (else it means a newer one). Raises StaleFence, TaskConflict.

    The fence decides where both have one, because attempt numbers are used again: after a task was deleted, and after it was
    handed back. A client without a scheduler has no fence: the attempt number decides, and it cannot push aside an attempt that a
    scheduler has fenced.
    """
    there, attempt = request.fence, request.attempt
    fence, number = here.assignment.fence, here.assignment.attempt
    older = there < fence if there else attempt < number
    if older:
        raise StaleFence(f"a newer attempt at the task {here.task_id} is here")
    if there == fence if there else attempt == number:
        if not request.attach_only and not there and not same_payload(here.assignment.spec, request.spec):
            raise TaskConflict(f"the task {here.task_id} is here with another payload")
        return True
    if not there and fence:
        raise StaleFence(f"the task {here.task_id} belongs to a scheduler")
    return False
