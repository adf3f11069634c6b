"""The dispatcher: a link to every node replica, a runner for every attempt that this scheduler owns.

It pushes: a free slot is seen, one task is claimed for it, the task is run there. Nothing is claimed ahead of a slot.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial

from google.protobuf import struct_pb2

from runtime.channel import open_channel
from runtime.errors import InvalidArgument
from runtime.logs import get_logger
from runtime.rpc_errors import clip
from runtime.settings import RuntimeSection
from runtime.structs import from_struct, to_struct
from scheduler import metrics
from scheduler.queue.admission import AdmittedTask
from scheduler.queue.attempt_store import AttemptStore
from scheduler.queue.bindings import Bindings, ReferenceUnresolved
from scheduler.queue.claim import Claim
from scheduler.queue.record import TaskRecord
from scheduler.queue.references import MARK
from scheduler.queue.task_store import Submitted, TaskStore
from scheduler.queue.task_types import TaskTypeCatalog
from scheduler.run import node_addresses
from scheduler.run.conclusion import Conclusion, OnEnd
from scheduler.run.connect_probe import refuses
from scheduler.run.joint_drain import await_draining_nodes
from scheduler.run.node_stream import NodeStream
from scheduler.run.replica_link import ReplicaLink
from scheduler.run.run_times import RunTimes
from scheduler.run.runner import Runner
from scheduler.settings import NodeSection, SchedulerSection
from yivideo.task.v1 import task_pb2, task_pb2_grpc

log = get_logger(__name__)

_CONCLUDE_SECONDS = 5.0
_MARK = MARK.encode()


class Dispatcher:
    """All links and runners of one scheduler replica."""

    def __init__(
        self,
        attempts: AttemptStore,
        tasks: TaskStore,
        types: TaskTypeCatalog,
        bindings: Bindings,
        settings: SchedulerSection,
        runtime: RuntimeSection,
        draining: asyncio.Event,
        on_end: OnEnd,
    ) -> None:
        self._attempts = attempts
        self._tasks = tasks
        self._types = types
        self._bindings = bindings
        self._settings = settings
        self._runtime = runtime
        self.run_times = RunTimes()
        self._conclusion = Conclusion(attempts, tasks, types, on_end, self.run_times)
        self._links: dict[tuple[str, str], ReplicaLink] = {}
        self._link_tasks: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._runners: dict[str, tuple[Runner, asyncio.Task[None]]] = {}
        self.may_own = True
        """Cleared by the lease keeper while this replica cannot prove that it owns anything."""
        self._draining = draining
        self._closed = False
        self.on_sight: Callable[[], None] = lambda: None
        """Called when a node replica has come into sight."""
        self.on_work: Callable[[str], None] = lambda node: None
        """Called when a node may have got work, whether a replica of it is there or not; empty: any node."""

    @property
    def runners(self) -> list[Runner]:
        """The attempts under way here."""
        return [runner for runner, _ in self._runners.values()]

    @property
    def links(self) -> list[ReplicaLink]:
        """The node replicas that are configured now."""
        return list(self._links.values())

    def _sighted(self) -> None:
        self.on_sight()

    def offered(self) -> set[str]:
        """Names of the task types that a node replica in sight takes now."""
        return {name for link in self._links.values() for name in link.offered}

    def offers(self, name: str) -> bool:
        """Whether a node replica in sight takes tasks of a type now."""
        return any(name in link.offered for link in self._links.values())

    def _may_claim(self) -> bool:
        return self.may_own and not self._closed and not self._draining.is_set()

    def runner(self, task_id: str) -> Runner | None:
        """Return the runner of a task's attempt, when it is here."""
        found = self._runners.get(task_id)
        return found[0] if found else None

    def want(self, node: str) -> None:
        """Look for work of a node at once: it became ready here."""
        self.on_work(node)
        for link in self._links.values():
            if link.node == node:
                link.want()

    def want_soon(self, node: str) -> None:
        """Look for work of a node: another replica announced it, and goes first."""
        self.on_work(node)
        for link in self._links.values():
            if link.node == node:
                link.want_soon()

    def want_all(self) -> None:
        """Look for work of every node."""
        self.on_work("")
        for link in self._links.values():
            link.want()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Dispatcher]:
        """Link to the nodes for the time of the block; leaving it detaches from all attempts without stopping them."""
        resolving = asyncio.create_task(self._resolve_for_ever())
        try:
            yield self
        finally:
            self._closed = True
            resolving.cancel()
            await self._detach_all()
            for key in list(self._links):
                await self._unlink(key)
            await asyncio.gather(resolving, return_exceptions=True)

    async def await_draining_nodes(self) -> None:
        """See `scheduler.run.joint_drain`."""

        def is_draining() -> bool:
            in_use = {(runner.claim.record.node, runner.claim.record.address) for runner in self.runners}
            links = [link for key, link in self._links.items() if key in in_use]
            return any(link.connected and link.status.draining for link in links)

        await await_draining_nodes(lambda: bool(self._runners), is_draining, self._settings.hand_back_seconds)

    async def drain(self) -> None:
        """Claim nothing more and let go of every attempt; the nodes go on, and other replicas attach."""
        self._closed = True
        await self._detach_all()

    async def _resolve_for_ever(self) -> None:
        while True:
            for section in self._settings.nodes:
                await self._resolve(section)
            await asyncio.sleep(self._settings.resolve_seconds)

    async def _resolve(self, section: NodeSection) -> None:
        found = await node_addresses.resolve(section.addresses)
        for address in found:
            key = (section.node, address)
            if key not in self._links:
                link = ReplicaLink(
                    section.node, address, self._attempts, self._types, self._settings, self._runtime,
                    start=self._start_all, may_claim=self._may_claim, on_sight=self._sighted,
                )  # fmt: skip
                self._links[key] = link
                self._link_tasks[key] = asyncio.create_task(link.run())
        in_use = {runner.claim.record.address for runner in self.runners}
        for node, address in list(self._links):
            may_go = address not in in_use and not self._links[node, address].claiming
            if node == section.node and address not in found and may_go:
                await self._unlink((node, address))

    async def _unlink(self, key: tuple[str, str]) -> None:
        link, task = self._links.pop(key), self._link_tasks.pop(key)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await link.aclose()

    async def submit(self, task: AdmittedTask, *, awaited: bool = False) -> Submitted:
        """Store a task, as TaskStore.submit does, and start what is first in its queue then where a free slot is known.

        Must run to its end: a claim whose answer nobody takes is found again only when its lease has lapsed.
        """
        link = self._freest(task.node)
        if link is None:
            submitted = await self._tasks.submit(task, awaited=awaited)
            may_be_more = submitted.outcome != "existing"
        else:
            with link.asking(1) as ask:
                submitted = await self._tasks.submit(task, awaited=awaited, ask=ask)
            await self._start_all(submitted.claimed.claims, link)
            may_be_more = submitted.claimed.may_be_more
        if may_be_more:
            self.want(task.node)
        if submitted.refusal is not None:
            raise submitted.refusal
        return submitted

    def _freest(self, node: str) -> ReplicaLink | None:
        """The replica of a node with the most free slots; None when no claim may begin for any."""
        best, most = None, 0
        for link in self._links.values():
            if link.node == node and (slots := link.open_slots) > most:
                best, most = link, slots
        return best

    async def _start_all(self, claims: Sequence[Claim], link: ReplicaLink) -> None:
        """Run claimed tasks on the replica they were claimed for. Nothing is raised."""
        for claim in claims:
            try:
                await self._start(claim, link)
            except Exception as error:
                # Its lease lapses and a sweeper attaches to it, wherever: better late than in the way of the others.
                log.warning(
                    "a claimed task could not be started", task=claim.record.task_id, error=repr(error)
                )

    async def _start(self, claim: Claim, link: ReplicaLink) -> None:
        metrics.queue_seconds(link.node).observe(
            max(0.0, (claim.record.run_ms - claim.record.ready_ms) / 1000)
        )
        if claim.trace is not None:
            claim.trace.tell_queue()
        attempt = (claim.record.task_id, claim.record.fence)
        link.attempt_began(attempt)
        request = None
        try:
            request = await self._request(claim)
        finally:
            if request is None:
                link.attempt_ended(attempt)
        if request is None:
            return
        runner = self._runner(claim, request, link)
        self._keep(runner, link)

    async def adopt(self, task_id: str) -> bool:
        """Take over an attempt whose owner is gone, by attaching to it where it runs; False when it has an owner."""
        if not self._may_claim():
            return False
        here = self.runner(task_id)
        claim = await self._attempts.adopt(task_id)
        if claim is None:
            return False
        if here is not None and here.claim.record.fence == claim.record.fence:
            return True  # ours: it attaches by itself
        log.warning("attempt adopted", task=task_id, address=claim.record.address)
        metrics.LEASES_ADOPTED.inc()
        request = await self._request(claim)
        if request is None:
            return True
        link = self._links.get((claim.record.node, claim.record.address))
        if link is None:
            link = ReplicaLink(
                claim.record.node, claim.record.address, self._attempts, self._types, self._settings, self._runtime,
                start=self._start_all, may_claim=lambda: False, on_sight=self._sighted,
            )  # fmt: skip
            self._links[claim.record.node, claim.record.address] = link
            self._link_tasks[claim.record.node, claim.record.address] = asyncio.create_task(link.run())
        link.attempt_began((task_id, claim.record.fence))
        runner = self._runner(claim, request, link, adopted=True)
        self._keep(runner, link)
        return True

    def _runner(
        self, claim: Claim, request: task_pb2.RunTaskRequest, link: ReplicaLink, *, adopted: bool = False
    ) -> Runner:
        return Runner(
            claim, request, link.stream, self._attempts, self._conclusion, self._settings,
            partial(refuses, link.address), adopted=adopted, elsewhere=partial(self._stream_with_end, claim.record),
        )  # fmt: skip

    def _stream_with_end(self, record: TaskRecord) -> NodeStream | None:
        """Return the stream to a replica of the node that has an attempt's end, wherever it ran."""
        end = (record.task_id, record.attempt, record.fence)
        links = (link for link in self._links.values() if link.node == record.node and link.has_end(end))
        return next((link.stream for link in links), None)

    def _keep(self, runner: Runner, link: ReplicaLink) -> None:
        task = asyncio.create_task(self._run(runner, link))
        self._runners[runner.task_id] = (runner, task)

    async def _run(self, runner: Runner, link: ReplicaLink) -> None:
        try:
            await runner.run()
        except asyncio.CancelledError:
            raise
        except Exception:
            # The lease lapses and a sweeper attaches again: better late than without an owner.
            log.exception("a runner failed; its attempt will be adopted", task=runner.task_id)
        finally:
            kept = self._runners.get(runner.task_id)
            if kept is not None and kept[0] is runner:
                del self._runners[runner.task_id]
            record = runner.claim.record
            link.attempt_ended((record.task_id, record.fence), refused=runner.refused)

    async def _request(self, claim: Claim) -> task_pb2.RunTaskRequest | None:
        """Return what the node is asked; None when the task ended because a reference has no value."""
        spec = task_pb2.TaskSpec.FromString(claim.spec)
        type_timeout = kind.timeout_seconds if (kind := self._types.find(spec.task_name)) else 0
        spec.timeout_seconds = spec.timeout_seconds or type_timeout or self._settings.default_timeout_seconds
        spec.workflow_id = claim.record.workflow_id
        if claim.resolved_input:
            spec.input.CopyFrom(task_pb2.TaskSpec.FromString(claim.resolved_input).input)
        elif claim.record.bindings or _MARK in claim.spec:
            try:
                value = await self._bindings.resolved(claim.record, from_struct(spec.input))
                spec.input.CopyFrom(to_struct(value))
            except ReferenceUnresolved as missing:
                error = task_pb2.TaskError(
                    code="REFERENCE_UNRESOLVED",
                    message=clip(str(missing)),
                    field=missing.pointer,
                )
                await self._conclusion.fail(claim, error, (), 0.0)
                return None
            except InvalidArgument as refused:  # what was filled in lies too deep in the input
                await self._conclusion.refuse(claim, refused, 0.0)
                return None
            await self._attempts.keep_input(claim, task_pb2.TaskSpec(input=spec.input))
        if claim.trace is not None:
            spec.traceparent = claim.trace.below_attempt
        request = task_pb2.RunTaskRequest(spec=spec, attempt=claim.record.attempt, fence=claim.record.fence)
        latest_ms = claim.record.run_ms + int(self._settings.start_seconds * 1000)
        request.latest_start_time.FromMilliseconds(latest_ms)
        if claim.checkpoint:
            request.checkpoint.CopyFrom(struct_pb2.Struct.FromString(claim.checkpoint))
        return request

    async def detach(self, runner: Runner) -> None:
        """Let go of one attempt: another scheduler owns it."""
        kept = self._runners.get(runner.task_id)
        if kept is not None and kept[0] is runner and not runner.concluding:
            kept[1].cancel()

    async def _detach_all(self) -> None:
        tasks = []
        for runner, task in list(self._runners.values()):
            tasks.append(task)
            if not runner.concluding:
                task.cancel()
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=_CONCLUDE_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def stop_remote(self, address: str, request: task_pb2.CancelTaskRequest) -> None:
        """Tell the node at an address to stop an attempt that another scheduler looks after. Nothing is raised."""
        for link in self._links.values():
            if link.address == address:
                await _cancel(link.stub, request)
                return
        async with open_channel(address, self._runtime) as channel:
            await _cancel(task_pb2_grpc.TaskServiceStub(channel), request)


async def _cancel(stub: task_pb2_grpc.TaskServiceAsyncStub, request: task_pb2.CancelTaskRequest) -> None:
    try:
        await stub.CancelTask(request, timeout=2.0)
    except Exception as error:
        # The flag in the record tells the owner within one beat.
        log.info("the node was not told directly", error=type(error).__name__)
