"""One attempt on one node replica: starts or attaches to it, stores what it says, and brings it to its one end.

The stream is the lease. A stream that breaks, or says nothing for too long, is opened again by attaching to the same attempt
after the last node sequence that was stored. Only when that has failed for `lost_seconds` is the attempt given up as lost; sooner,
after `refused_seconds`, when nobody listens at the node's address any more (`scheduler.run.connect_probe`).
Everything written carries the attempt's fence, so a runner that does not know yet that it was superseded can write nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from enum import Enum

import grpc

from runtime import context as ids
from runtime import errors
from runtime.logs import get_logger
from runtime.rpc_errors import clip, translate
from scheduler import metrics
from scheduler.queue.attempt_store import AttemptStore
from scheduler.queue.claim import Claim
from scheduler.queue.node_event import NodeEvent, to_node_event
from scheduler.queue.node_limits import check_end
from scheduler.run.conclusion import Conclusion
from scheduler.run.connect_probe import Refuses
from scheduler.run.node_loss import NodeLossTimer
from scheduler.run.node_stream import Followed, NodeStream, StreamEnd
from scheduler.run.watch_end import Meaning, meaning
from scheduler.settings import SchedulerSection
from yivideo.task.v1 import task_pb2

log = get_logger(__name__)

_LINGER_SECONDS = 0.005
"""How long an event waits for the next one, to be stored with it: of a short task, its start is stored with its end."""
_REATTACH_SECONDS = (0.1, 0.2, 0.5, 1.0)
_LAST_TRY_SECONDS = 2.0
_CANCEL_TIMEOUT_SECONDS = 5.0
_MAX_REASON_BYTES = 500


class _After(Enum):
    """What follows when a stream is over."""

    DONE = "done"
    BROKEN = "broken"
    GONE = "gone"


class Runner:
    """One attempt that this scheduler looks after."""

    def __init__(
        self,
        claim: Claim,
        request: task_pb2.RunTaskRequest,
        stream: NodeStream,
        store: AttemptStore,
        conclusion: Conclusion,
        settings: SchedulerSection,
        refuses: Refuses,
        *,
        adopted: bool = False,
        elsewhere: Callable[[], NodeStream | None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`elsewhere`: looks whether another replica of the node has the attempt's end, left by the process that ran it."""
        self._elsewhere = elsewhere
        self.claim = claim
        self.task_id = claim.record.task_id
        self._request = request
        self._stream_to_node = stream
        self._store = store
        self._conclusion = conclusion
        self._settings = settings
        self._clock = clock
        self._node_sequence = claim.record.node_sequence
        self._adopted = adopted
        self.contact_time = clock() - claim.silent_seconds
        """Local monotonic time of the node's last message."""
        silent_since = self.contact_time + settings.silence_seconds if adopted else None
        self._loss_timer = NodeLossTimer(settings, refuses, clock, silent_since)
        self._silent_seconds = 0.0
        """How long the node had said nothing when its stream broke; 0: not longer than is usual."""
        lived = max(0.0, time.time() - claim.record.run_ms / 1000) if adopted else 0.0
        self._started_time = clock() - lived
        self._deadline = self._started_time + request.spec.timeout_seconds + settings.deadline_slack_seconds
        self._deadline_sent = False
        self._first_message = True
        self.refused = False
        """The node had no slot for it after all."""
        self.concluding = False
        """Its last message is being stored: not a moment to detach."""
        self._stored_progress_time = -1e9
        self._batch_time = 0.0
        self._may_stream = asyncio.Event()
        self._may_stream.set()
        self._followed: Followed | None = None

    @property
    def age_seconds(self) -> float:
        """Seconds since the node's last message."""
        return max(0.0, self._clock() - self.contact_time)

    def suspend(self) -> None:
        """Let go of the stream until `resume`: this scheduler cannot prove that it is still the owner."""
        if self._may_stream.is_set():
            self._may_stream.clear()
            if self._followed is not None:
                self._followed.cancel()

    def resume(self) -> None:
        """Attach again: the lease is known to be ours."""
        self._may_stream.set()

    async def run(self) -> None:
        """Follow the attempt to its end, in an asyncio task of its own. Cancelled, it detaches from the node, which works on."""
        spec = self._request.spec
        trace = ids.accepted_traceparent(spec.traceparent)
        ids.bind(task=self.task_id, trace=trace, state=spec.tracestate)
        after = await self._stream(attach_only=self._adopted)
        tries = 0
        while after is not _After.DONE:
            if self._moved():
                after = await self._stream(attach_only=True)
                continue
            if after is _After.GONE or await self._is_lost():
                await self._conclusion.lose(self.claim, self._ran_seconds(), self._silent_seconds)
                return
            await asyncio.sleep(_REATTACH_SECONDS[min(tries, len(_REATTACH_SECONDS) - 1)])
            await self._may_stream.wait()
            tries += 1
            before = self.contact_time
            after = await self._stream(attach_only=True)
            if self.contact_time > before:
                tries = 0

    def _moved(self) -> bool:
        """Go on with the replica that has the attempt's end; True when that is news."""
        stream = self._elsewhere()
        if stream is None or stream is self._stream_to_node:
            return False
        log.info("another replica of the node has the attempt's end")
        self._stream_to_node = stream
        return True

    async def _is_lost(self) -> bool:
        """Whether the node has been out of reach for as long as it takes to be sure that its work is over."""
        if not self._may_stream.is_set():
            return False
        if self._loss_timer.start():
            # A process that is killed at work has spoken within a heartbeat; one whose event loop stood still has not.
            usual = self._settings.silence_seconds / 2
            self._silent_seconds = self.age_seconds if self.age_seconds > usual else 0.0
            log.warning("the stream to the node broke; attaching again", address=self.claim.record.address)
        return await self._loss_timer.is_over()

    def _ran_seconds(self) -> float:
        return max(0.0, self._clock() - self._started_time)

    async def _stream(self, *, attach_only: bool) -> _After:
        """Open one stream and store what it brings, until it ends."""
        self._request.attach_only = attach_only
        self._request.after_sequence = self._node_sequence
        self._followed = self._stream_to_node.follow(self._request, self._note_message)
        try:
            return await self._consume(self._followed, attach_only=attach_only)
        finally:
            self._followed.cancel()
            self._followed = None

    def _note_message(self) -> None:
        self.contact_time = self._clock()
        self._loss_timer.reset()

    async def _consume(self, followed: Followed, *, attach_only: bool) -> _After:
        opened = self._clock()
        # An attempt to attach again must not outlast the time that is left.
        first_seconds = max(_LAST_TRY_SECONDS, self._loss_timer.left_seconds)
        batch: list[NodeEvent] = []
        while True:
            silent_time = self._silent_time(opened, first_seconds)
            try:
                async with asyncio.timeout(self._next_timer(batch, silent_time)):
                    item = await followed.get()
            except TimeoutError:
                if await self._tick():
                    return _After.DONE
                if self._clock() >= self._silent_time(opened, first_seconds):
                    return _After.BROKEN
                if batch and await self._flush(batch):
                    return _After.DONE
                continue
            while True:
                if isinstance(item, StreamEnd):
                    if batch and await self._flush(batch):
                        return _After.DONE
                    return await self._ended(item, attach_only=attach_only)
                if await self._take(item, batch):
                    return _After.DONE
                if followed.empty:
                    break
                item = await followed.get()
            if self._is_due(batch) and await self._flush(batch):
                return _After.DONE

    async def _take(self, event: task_pb2.TaskEvent, batch: list[NodeEvent]) -> bool:
        """Put an event into the batch, or conclude the attempt with it; True when that ended it."""
        kind = event.WhichOneof("event")
        if 0 < event.sequence <= self._node_sequence:
            return False
        if kind in ("completed", "failed", "cancelled", "handed_back"):
            self.concluding = True
            try:
                if cut := await check_end(self.task_id, event):
                    log.warning("what a node said at an attempt's end is cut to its limits", fields=cut)
            except errors.NodeMessageInvalid as error:
                await self._give_up(error, batch)
                return True
            await self._conclusion.conclude(
                self.claim, event, batch, self._ran_seconds(), deadline_passed=self._deadline_sent
            )
            return True
        try:
            stored = to_node_event(event)
        except (errors.Unimplemented, errors.NodeMessageInvalid) as error:
            await self._give_up(error, batch)
            return True
        if stored is not None:
            if batch and batch[-1].kind == stored.kind == "progress":
                batch.pop()
            if not batch:
                self._batch_time = self._clock()
            batch.append(stored)
        return False

    async def _give_up(self, error: errors.YiVideoError, batch: list[NodeEvent]) -> None:
        """Fail the task at once: its node says what cannot be stored, and would say it again."""
        log.error(
            "the attempt is given up: its node says what cannot be stored",
            code=error.code,
            detail=error.message,
        )
        if batch and await self._flush(batch):
            return
        self.concluding = True
        await self.stop(error.message, self._settings.cancel_grace_seconds)
        await self._conclusion.refuse(self.claim, error, self._ran_seconds())

    def _is_due(self, batch: list[NodeEvent]) -> bool:
        return bool(batch) and self._batch_wait(batch) <= 0

    def _batch_wait(self, batch: list[NodeEvent]) -> float:
        """Seconds until the batch must be stored."""
        if all(event.kind == "progress" for event in batch):
            return self._progress_wait()
        return self._batch_time + _LINGER_SECONDS - self._clock()

    def _progress_wait(self) -> float:
        return self._stored_progress_time + self._settings.progress_seconds - self._clock()

    async def _flush(self, batch: list[NodeEvent]) -> bool:
        """Store the batch; True when the attempt turned out not to be ours any more."""
        events = batch.copy()
        batch.clear()
        state = await self._store.append(self.claim, events)
        self._node_sequence = events[-1].node_sequence
        if any(event.kind == "progress" for event in events):
            self._stored_progress_time = self._clock()
        if any(event.kind == "event" for event in events) and self._first_message:
            self._first_message = False
            metrics.pickup_seconds(self.claim.record.node).observe(self._ran_seconds())
        return state == "stale"

    def _silent_time(self, opened: float, first_seconds: float) -> float:
        """When a stream counts as broken if no message comes until then."""
        silence_seconds = self._settings.silence_seconds
        if self.contact_time > opened:
            return self.contact_time + silence_seconds
        return opened + min(silence_seconds, first_seconds)

    def _next_timer(self, batch: list[NodeEvent], silent_time: float) -> float:
        now = self._clock()
        due = min(silent_time, self._force_time() if self._deadline_sent else self._deadline)
        if batch:
            due = min(due, now + self._batch_wait(batch))
        return max(0.001, due - now)

    def _force_time(self) -> float:
        return self._deadline + self._settings.cancel_grace_seconds + self._settings.kill_seconds

    async def _tick(self) -> bool:
        """Enforce the attempt's deadline; True when that ended the task."""
        now = self._clock()
        if not self._deadline_sent and now >= self._deadline:
            self._deadline_sent = True
            log.warning("the attempt passed its deadline", timeout_seconds=self._request.spec.timeout_seconds)
            await self.stop("the task's timeout passed", self._settings.cancel_grace_seconds)
        elif self._deadline_sent and now >= self._force_time():
            log.error("the node did not end an attempt that it was told to stop; failing the task without it")
            await self._conclusion.fail_deadline(self.claim, [], self._ran_seconds())
            return True
        return False

    async def stop(self, reason: str, grace_seconds: float | None) -> None:
        """Tell the node to stop the attempt. What the node then reports ends the task; nothing is raised."""
        request = task_pb2.CancelTaskRequest(
            task_id=self.task_id,
            reason=clip(reason, _MAX_REASON_BYTES),
            attempt=self.claim.record.attempt,
            fence=self.claim.record.fence,
        )
        if grace_seconds is not None:
            request.grace_seconds = grace_seconds
        try:
            await self._stream_to_node.stop(request, _CANCEL_TIMEOUT_SECONDS)
        except grpc.aio.AioRpcError as failed:
            error = translate(failed)
            if not isinstance(error, errors.WrongState):  # it is stopping already
                log.warning("the node could not be told to stop", code=error.code, detail=error.message)

    async def _ended(self, end: StreamEnd, *, attach_only: bool) -> _After:
        """Act on the end of a watch that came without the attempt's own end."""
        what, error = meaning(end, attach_only=attach_only)
        match what:
            case Meaning.BROKEN:
                return _After.BROKEN
            case Meaning.GONE:
                log.warning("the node does not have the attempt", code=error.code, detail=error.message)
                return _After.GONE
            case Meaning.NOT_STARTED:
                self.refused = True
                await self._conclusion.hand_back(self.claim)
            case Meaning.UNUSABLE:
                await self._give_up(error, [])
            case Meaning.REFUSED:
                await self._conclusion.refuse(self.claim, error, self._ran_seconds())
        return _After.DONE
