"""The scheduler assembled: every part made once, started and stopped in order."""

from __future__ import annotations

import asyncio
import hashlib
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from redislink.figures import publish_for_ever
from runtime.background import background
from runtime.egress import EgressPolicy
from runtime.logs import get_logger
from runtime.server import RpcServer
from runtime.settings import SettingsError
from scheduler.api.access_servicer import AccessServicer
from scheduler.api.cancellation import Cancellation
from scheduler.api.deletion import Deletion
from scheduler.api.endings import Endings
from scheduler.api.event_feed import EventFeed
from scheduler.api.input_files import InputFiles
from scheduler.api.listing import Listing
from scheduler.api.node_load import NodeLoads
from scheduler.api.page_token import PageTokens
from scheduler.api.queue_place import QueuePlaces
from scheduler.api.queue_report import QueueReport
from scheduler.api.scaler_servicer import ScalerServicer
from scheduler.api.servicer import TaskServicer
from scheduler.api.task_feed import TaskFeed
from scheduler.api.task_view import TaskView
from scheduler.api.watching import TaskWatch
from scheduler.api.workflow_ending import WorkflowEnding
from scheduler.api.workflow_listing import WorkflowListing
from scheduler.api.workflow_servicer import WorkflowServicer
from scheduler.api.workflow_watching import WorkflowWatch
from scheduler.callbacks.body import CallbackBodies
from scheduler.callbacks.delivery import DeliveryWorker
from scheduler.callbacks.outbox import Outbox
from scheduler.queue.admission import Admission
from scheduler.queue.attempt_store import AttemptStore
from scheduler.queue.availability import Availability
from scheduler.queue.bindings import Bindings
from scheduler.queue.feed_store import FeedStore
from scheduler.queue.history import History
from scheduler.queue.keys import Keys
from scheduler.queue.redis_link import RedisLink, connected
from scheduler.queue.revoked_keys import RevokedKeys
from scheduler.queue.task_store import TaskStore
from scheduler.queue.task_types import TaskTypeCatalog
from scheduler.queue.workflow_plan import WorkflowAdmission
from scheduler.queue.workflow_store import WorkflowStore
from scheduler.run.dispatcher import Dispatcher
from scheduler.run.lease_keeper import LeaseKeeper
from scheduler.run.sweeper import Sweeper
from scheduler.settings import ALLOW_SETTING, SchedulerSettings
from yivideo.access.v1 import access_pb2, access_pb2_grpc
from yivideo.keda.v1 import external_scaler_pb2, external_scaler_pb2_grpc
from yivideo.task.v1 import task_pb2, task_pb2_grpc, workflow_pb2, workflow_pb2_grpc

log = get_logger(__name__)

SERVICE = task_pb2.DESCRIPTOR.services_by_name["TaskService"].full_name
WORKFLOW_SERVICE = workflow_pb2.DESCRIPTOR.services_by_name["WorkflowService"].full_name
ACCESS_SERVICE = access_pb2.DESCRIPTOR.services_by_name["AccessService"].full_name
SCALER_SERVICE = external_scaler_pb2.DESCRIPTOR.services_by_name["ExternalScaler"].full_name
_START_RETRY_SECONDS = 60.0
_STANDSTILL_SECONDS = 5.0


class Scheduler:
    """One scheduler replica. `async with scheduling(settings)` makes and runs it."""

    def __init__(self, settings: SchedulerSettings, redis: RedisLink, draining: asyncio.Event) -> None:
        section, runtime = settings.scheduler, settings.runtime
        self.name = f"scheduler-{uuid.uuid4().hex[:12]}"
        """This replica's own name, new at every start: nothing of an earlier process counts as its own."""
        self.draining = draining
        keys = Keys(section.key_prefix)
        self.redis = redis
        self.types = TaskTypeCatalog(redis, keys)
        self.tasks = TaskStore(redis, keys, section, self.name)
        self.attempts = AttemptStore(redis, keys, section, self.name)
        callback_policy = EgressPolicy(allow=section.callbacks.allow, setting=ALLOW_SETTING)
        self.admission = Admission(
            self.types,
            callback_policy,
            section.limits,
            default_timeout_seconds=section.default_timeout_seconds,
        )
        self.workflows = WorkflowStore(redis, keys, self.tasks, section)
        self.workflow_admission = WorkflowAdmission(self.admission, callback_policy, section.limits)
        self.endings = Endings(self.tasks)
        self.dispatcher = Dispatcher(
            self.attempts, self.tasks, self.types, Bindings(redis, keys), section, runtime, draining,
            self.endings.notify,
        )  # fmt: skip
        self.availability = Availability(
            redis, keys, section, self.dispatcher.offered, self.dispatcher.offers
        )
        self.dispatcher.on_sight = self.availability.look
        self.refuse_unavailable = section.refuse_unavailable
        self.view = TaskView(self.availability, section.starts)
        self.history = History(redis, keys)
        self.places = QueuePlaces(redis, keys, self.dispatcher, section.limits.max_running_per_user)
        self.keeper = LeaseKeeper(self.attempts, self.dispatcher, section)
        self.sweeper = Sweeper(self.attempts, self.tasks, self.dispatcher, section)
        self.feed = EventFeed(redis, keys, buffer_events=section.watch_buffer_events, on_wake=self._wake)
        self.watch = TaskWatch(
            self.tasks, self.feed, self.view, draining, heartbeat_seconds=section.watch_heartbeat_seconds
        )
        self.task_feed = TaskFeed(
            FeedStore(redis, keys), redis, keys, draining, heartbeat_seconds=section.watch_heartbeat_seconds
        )
        self.workflow_watch = WorkflowWatch(
            self.workflows, self.feed, draining, heartbeat_seconds=section.watch_heartbeat_seconds
        )
        self.cancellation = Cancellation(self.tasks, self.dispatcher)
        self.input_files = InputFiles(section.filestore_address, runtime)
        self.deletion = Deletion(
            self.tasks, self.cancellation, self.watch, section.filestore_address, runtime
        )
        self.workflow_ending = WorkflowEnding(
            self.workflows, self.tasks, self.workflow_watch, self.cancellation, self.deletion
        )
        self.outbox = Outbox(redis, keys)
        self.delivery = DeliveryWorker(
            self.outbox, CallbackBodies(self.tasks, self.workflows), section.callbacks
        )
        secret = section.page_secret.get_secret_value() if section.page_secret else section.key_prefix
        tokens = PageTokens(hashlib.sha256(secret.encode()).digest())
        self.listing = Listing(redis, keys, self.tasks, self.view, tokens)
        self.workflow_listing = WorkflowListing(redis, keys, self.workflows, tokens)
        self.queues = QueueReport(redis, keys, self.dispatcher, self.feed, section)
        self.loads = NodeLoads(
            redis, keys, self.types, [node.node for node in section.nodes],
            repeat_seconds=section.watch_heartbeat_seconds,
        )  # fmt: skip
        self.dispatcher.on_work = self.loads.wake
        self._loading: set[asyncio.Task[None]] = set()

    def _wake(self, message: str) -> None:
        """Act on what another replica, or a script, announced."""
        parts = message.split(" ")
        if parts[0] == "node" and len(parts) >= 2:
            caller = parts[2] if len(parts) > 2 else ""
            if not caller:
                self.dispatcher.want(parts[1])
            elif caller != self.name:
                self.dispatcher.want_soon(parts[1])
        elif parts[0] == "ended" and len(parts) == 3:
            if parts[1] == self.name:
                self.endings.notify(parts[2])
        elif parts[0] == "delayed":
            self.sweeper.expect(int(parts[1]) / 1000)
        elif parts[0] == "outbox":
            self.delivery.want()
        elif parts[0] == "all":
            self.dispatcher.want_all()
            self.delivery.want()
            self.endings.notify_all()
        if parts[0] in ("types", "all"):
            loading = asyncio.create_task(self.types.load())
            self._loading.add(loading)
            loading.add_done_callback(self._loaded)

    def _loaded(self, task: asyncio.Task[None]) -> None:
        self._loading.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("the task types could not be read", error=str(error))

    def is_keeping_up(self) -> bool:
        """Whether the sweeper finishes its turns; while Redis is away it cannot, and calls would wait for it in vain."""
        return time.monotonic() - self.sweeper.turn_time < _STANDSTILL_SECONDS

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Scheduler]:
        """Work for the time of the block; leaving it hands all attempts to other replicas."""
        await self.redis.ping(_START_RETRY_SECONDS)
        await self.redis.forget_other_versions()
        await self.types.load()
        await self.availability.refresh()
        await self.keeper.beat()
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.deletion.aclose)
            stack.push_async_callback(self.input_files.aclose)
            await stack.enter_async_context(background("event feed", self.feed.run()))
            await stack.enter_async_context(background("feed of all tasks", self.task_feed.run()))
            await stack.enter_async_context(background("endings", self.endings.close_on(self.draining)))
            await stack.enter_async_context(background("callbacks", self.delivery.run()))
            await stack.enter_async_context(background("availability", self.availability.run()))
            figures = publish_for_ever(self.redis.info, "tasks")
            await stack.enter_async_context(background("figures of the store", figures))
            await stack.enter_async_context(background("queue report", self.queues.publish_for_ever()))
            await stack.enter_async_context(self.dispatcher.running())
            keeping = await stack.enter_async_context(background("lease keeper", self.keeper.run()))
            sweeping = await stack.enter_async_context(background("sweeper", self.sweeper.run()))
            try:
                yield self
            finally:
                await self.dispatcher.await_draining_nodes()
                for task in (keeping, sweeping):
                    task.cancel()
                await self.dispatcher.drain()
                await self._retire()

    async def _retire(self) -> None:
        try:
            await self.attempts.retire()
        except Exception as error:
            log.warning("could not retire; the leases lapse by themselves", error=str(error))


@asynccontextmanager
async def scheduling(settings: SchedulerSettings) -> AsyncIterator[tuple[Scheduler, RpcServer, str]]:
    """Run a scheduler and its gRPC server for the time of the block; gives both and the address."""
    for secret in settings.scheduler.callbacks.secrets:
        if len(secret.get_secret_value()) < 24:
            raise SettingsError(
                "settings: scheduler.callbacks.secrets: a secret is shorter than 24 characters"
            )
    server = RpcServer(settings.runtime)
    async with connected(settings.scheduler) as redis:
        scheduler = Scheduler(settings, redis, server.draining)
        servicer = TaskServicer(scheduler, settings.runtime.max_message_bytes)
        access = AccessServicer(RevokedKeys(redis, Keys(settings.scheduler.key_prefix)))
        server.add(access_pb2_grpc.add_AccessServiceServicer_to_server, access, ACCESS_SERVICE)
        server.add(task_pb2_grpc.add_TaskServiceServicer_to_server, servicer, SERVICE)
        server.add(
            workflow_pb2_grpc.add_WorkflowServiceServicer_to_server,
            WorkflowServicer(scheduler),
            WORKFLOW_SERVICE,
        )
        server.add(
            external_scaler_pb2_grpc.add_ExternalScalerServicer_to_server,
            ScalerServicer(scheduler.loads, server.draining),
            SCALER_SERVICE,
            without_token=settings.scheduler.scaler_open,
        )
        async with (
            scheduler.running(),
            server.running() as address,
            background(
                "health",
                server.report_health(
                    [SERVICE, WORKFLOW_SERVICE, ACCESS_SERVICE, SCALER_SERVICE], scheduler.is_keeping_up
                ),
            ),
        ):
            yield scheduler, server, address
