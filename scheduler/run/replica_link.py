"""One node replica as this scheduler sees it: its condition by WatchNode, and the claims made for its free slots.

What a replica says wrong (another node's name, types that are not its own) is told aloud: in the log when it begins, and for as
long as it lasts in ListQueues and the metrics.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

import grpc

from runtime.backoff import Backoff
from runtime.channel import open_channel
from runtime.errors import Unavailable, YiVideoError
from runtime.logs import get_logger
from runtime.rpc_errors import rpc_errors, translate
from runtime.settings import RuntimeSection
from scheduler import metrics
from scheduler.queue.attempt_store import AttemptStore
from scheduler.queue.claim import Claim, ClaimAsk, Claimed, Lanes
from scheduler.queue.task_types import TaskTypeCatalog
from scheduler.run.node_messages import MAX_RECEIVED_BYTES
from scheduler.run.node_stream import NodeStream
from scheduler.settings import SchedulerSection
from yivideo.task.v1 import task_pb2, task_pb2_grpc

log = get_logger(__name__)

_FIRST_WAIT_SECONDS = 0.2
_LONGEST_WAIT_SECONDS = 2.0
_TYPES_TIMEOUT_SECONDS = 10.0
_REFUSED_PAUSE_SECONDS = 0.1
_PEER_HEAD_START_SECONDS = 0.01
_LANES = 32
_MOST_AT_ONCE = 16
"""Tasks in one claim: what one answer of Redis may hold up, and what one lost answer may have to find again."""

_SHOWN_REFUSALS = 16
_MAX_SLOTS = 10_000
_REPLICA = re.compile(r"[\x21-\x7e]{1,128}")

Attempt = tuple[str, int]
"""A task and the fence of its attempt."""


class ReplicaLink:
    """The link to one address of one node."""

    def __init__(
        self,
        node: str,
        address: str,
        store: AttemptStore,
        types: TaskTypeCatalog,
        settings: SchedulerSection,
        runtime: RuntimeSection,
        *,
        start: Callable[[Sequence[Claim], ReplicaLink], Awaitable[None]],
        may_claim: Callable[[], bool],
        on_sight: Callable[[], None],
    ) -> None:
        self.node = node
        self.address = address
        self.status = task_pb2.NodeStatus()
        self.connected = False
        self._store = store
        self._types = types
        self._silence_seconds = settings.silence_seconds
        self._start = start
        self._may_claim = may_claim
        self._on_sight = on_sight
        self._channel = open_channel(address, runtime, max_received_bytes=MAX_RECEIVED_BYTES)
        self.stub = task_pb2_grpc.TaskServiceStub(self._channel)
        self.stream = NodeStream(self._channel, settings.silence_seconds)
        self._wanted = asyncio.Event()
        self._lanes = Lanes(_LANES)
        self._busy: set[Attempt] = set()
        """Attempts that take a slot, as the node reported."""
        self._running: set[Attempt] = set()
        self._ended: set[Attempt] = set()
        self._left: set[tuple[str, int, int]] = set()
        """Attempts, with their fences, that have ended there and whose end nobody has read; of its earlier processes, too."""
        self._types_etag: str | None = None
        self._offered: frozenset[str] = frozenset()
        self._refused: dict[str, str] = {}
        """Task types that it publishes and that are not taken, each with the reason."""
        self._trouble = ""
        """Why it is not in sight."""
        self._paused_until = 0.0
        self._may_be_more = True
        """Whether anything may be ready. A slot that becomes free while nothing is asks nobody: who makes a task ready calls."""

    @property
    def offered(self) -> frozenset[str]:
        """Names of the task types that this replica takes now."""
        return self._offered if self.connected and not self.status.draining else frozenset()

    @property
    def free_slots(self) -> int:
        """Slots that are free as far as both sides know: what the node reported, corrected by what happened here since."""
        if not self.connected or self.status.draining:
            return 0
        busy = self._busy
        known = len((busy - self._ended) | self._running)
        reported = self.status.free_slots + len(busy & self._ended) - len(self._running - busy)
        return min(self.status.slots - known, reported)

    @property
    def problems(self) -> list[str]:
        """What an operator should know of this replica, a sentence each."""
        trouble = [f"{self.address}: {self._trouble}"] if self._trouble and not self.connected else []
        return trouble + [
            f"{self.address}: its task type {name!r} is refused: {reason}"
            for name, reason in self._refused.items()
        ]

    @property
    def open_slots(self) -> int:
        """Free slots for which a claim may begin now."""
        if not self._may_claim() or not self._lanes.free or time.monotonic() < self._paused_until:
            return 0
        return self.free_slots - self._lanes.taken

    @property
    def claiming(self) -> bool:
        """Whether a claim is under way."""
        return self._lanes.taken > 0

    @contextmanager
    def asking(self, most: int) -> Iterator[ClaimAsk]:
        """Claim in the block, for free slots of this replica."""
        with self._lanes.one() as lane:
            yield ClaimAsk(self.status.replica, self.address, self.status.slots, lane, most)

    def has_end(self, attempt: tuple[str, int, int]) -> bool:
        """Whether the replica has said that it has the end of this attempt: task, number and, since numbers return, fence."""
        return attempt in self._left

    def attempt_began(self, attempt: Attempt) -> None:
        """Count a slot as taken before the node says so."""
        self._running.add(attempt)
        self._ended.discard(attempt)

    def attempt_ended(self, attempt: Attempt, *, refused: bool = False) -> None:
        """Count a slot as free before the node says so; after a refusal, wait for the node's own status for a moment."""
        self._running.discard(attempt)
        self._ended.add(attempt)
        if refused:
            self._paused_until = time.monotonic() + _REFUSED_PAUSE_SECONDS
        if self._may_be_more or refused:
            self._wanted.set()

    def want(self) -> None:
        """Look for work: some may be ready."""
        self._may_be_more = True
        self._wanted.set()

    def want_soon(self) -> None:
        """Look for work a moment later than the replica that announced it; two that ask at once get one task between them."""
        asyncio.get_running_loop().call_later(_PEER_HEAD_START_SECONDS, self.want)

    async def run(self) -> None:
        """Watch and claim until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._watch_for_ever())
                group.create_task(self._claim_for_ever())
        finally:
            self.connected = False

    async def aclose(self) -> None:
        """Close the stream and the channel."""
        await self.stream.aclose()
        await self._channel.close()

    async def _watch_for_ever(self) -> None:
        backoff = Backoff(_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS)
        while True:
            call = self.stub.WatchNode(task_pb2.WatchNodeRequest())
            try:
                while True:
                    async with asyncio.timeout(self._silence_seconds):
                        status = await call.read()
                    if not isinstance(status, task_pb2.NodeStatus):  # the end of the stream
                        break
                    backoff.reset()
                    await self._take_status(status)
            except grpc.aio.AioRpcError as error:
                self._lose(translate(error).message)
            except TimeoutError:
                self._lose("it says nothing")
            except YiVideoError as error:
                self._lose(error.message)
            else:
                self._lose("it ended the stream")
            finally:
                call.cancel()
            await backoff.pause()

    def _lose(self, reason: str) -> None:
        if self.connected:
            log.warning("node replica lost from sight", node=self.node, address=self.address, reason=reason)
        self.connected = False
        self._trouble = reason

    def _refuse(self, reason: str) -> None:
        """It answers, but not as a replica of this node should: nothing is claimed for it."""
        if reason != self._trouble or self.connected:
            log.error("node replica refused", node=self.node, address=self.address, reason=reason)
        self.connected = False
        self._trouble = reason

    async def _take_status(self, status: task_pb2.NodeStatus) -> None:
        if fault := _fault(status, self.node):
            self._refuse(fault)
            return
        if status.task_types_etag != self._types_etag:
            await self._learn_types()
            self._types_etag = status.task_types_etag
        before = self.free_slots
        if not self.connected:
            log.info("node replica in sight", node=self.node, address=self.address, slots=status.slots)
            self._on_sight()
        self.connected = True
        self._trouble = ""
        self.status = status
        self._busy = {(here.task_id, here.fence) for here in status.attempts if not here.ended}
        self._left = {(here.task_id, here.attempt, here.fence) for here in status.attempts if here.ended}
        self._ended &= self._busy
        if self.free_slots > before:  # not at every heartbeat: an idle node must not mean polling
            self._wanted.set()

    async def _learn_types(self) -> None:
        async with rpc_errors():
            answer = await self.stub.ListTaskTypes(
                task_pb2.ListTaskTypesRequest(), timeout=_TYPES_TIMEOUT_SECONDS
            )
        if not isinstance(
            answer, task_pb2.ListTaskTypesResponse
        ):  # gRPC gives None for what cannot be parsed
            raise Unavailable("its task types cannot be read")
        refused = await self._types.learn(self.node, answer.task_types)
        for name, reason in refused.items():
            log.error(
                "task type refused", node=self.node, address=self.address, task_name=name, reason=reason
            )
        metrics.TASK_TYPES_REFUSED.labels(self.node).inc(len(refused))
        self._refused = dict(list(refused.items())[:_SHOWN_REFUSALS])
        self._offered = frozenset(kind.name for kind in answer.task_types) - refused.keys()

    async def _claim_for_ever(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            pause = self._paused_until - time.monotonic()
            if pause > 0:
                await asyncio.sleep(pause)
            with suppress(Unavailable):  # the sweeper, which finds ready tasks, calls again
                await self._claim_all()

    async def _claim_all(self) -> None:
        while (free := self.free_slots) > 0 and self._lanes.free and self._may_claim():
            claimed = await self._claim(min(free, _MOST_AT_ONCE))
            await self._start(claimed.claims, self)
            if not self._may_be_more or claimed.outcome not in ("claimed", "more"):
                return

    async def _claim(self, most: int) -> Claimed:
        # Cleared before it is asked: what becomes ready meanwhile sets it again, whatever the answer says.
        self._may_be_more = False
        claimed = None
        try:
            with self.asking(most) as ask:
                claimed = await self._store.claim(self.node, ask)
        finally:
            if claimed is None or claimed.may_be_more:
                self._may_be_more = True
        return claimed


def _fault(status: task_pb2.NodeStatus, node: str) -> str:
    """Why a replica's condition cannot be that of a replica of this node; empty: it can."""
    if status.node != node:
        return f"it is node {status.node[:128]!r}, not {node!r}"
    if not _REPLICA.fullmatch(status.replica):
        return "its `replica` is not 1 to 128 printable ASCII characters without spaces"
    if not 0 <= status.free_slots <= status.slots <= _MAX_SLOTS:
        return f"it has {status.slots} slots and {status.free_slots} free ones; 0 to {_MAX_SLOTS}, and no more free than in all"
    return ""
