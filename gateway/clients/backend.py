"""The services behind the gateway: one channel to each, every call with a deadline, every error one of our tree."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gateway.clients.default_bucket import DefaultBucket
from gateway.clients.direct import DirectReads
from gateway.clients.read_in_place import InPlaceReads
from gateway.clients.redirect import Redirects
from gateway.clients.submitter import Submitter
from gateway.clients.upload_in_place import InPlaceUploads
from gateway.settings import GatewaySettings
from runtime.channel import open_channel
from runtime.chunk_codec import reader, writer
from runtime.errors import Unavailable, YiVideoError
from runtime.logs import get_logger
from runtime.rpc_errors import rpc_errors
from yivideo.access.v1.access_pb2_grpc import AccessServiceStub
from yivideo.file.v1 import file_pb2
from yivideo.file.v1.file_pb2_grpc import FileServiceStub
from yivideo.gpulock.v1.monitor_pb2_grpc import LockMonitorStub
from yivideo.task.v1.task_pb2_grpc import TaskServiceStub
from yivideo.task.v1.workflow_pb2_grpc import WorkflowServiceStub

if TYPE_CHECKING:
    from yivideo.access.v1.access_pb2_grpc import AccessServiceAsyncStub
    from yivideo.file.v1.file_pb2_grpc import FileServiceAsyncStub
    from yivideo.gpulock.v1.monitor_pb2_grpc import LockMonitorAsyncStub
    from yivideo.task.v1.task_pb2_grpc import TaskServiceAsyncStub
    from yivideo.task.v1.workflow_pb2_grpc import WorkflowServiceAsyncStub

log = get_logger(__name__)

T = TypeVar("T")

SCHEDULER = "scheduler"
FILESTORE = "filestore"
GPULOCK = "gpulock"

_FILE_SERVICE = file_pb2.DESCRIPTOR.services_by_name["FileService"].full_name
_HEALTH_TIMEOUT_SECONDS = 2.0
_CONNECT_SECONDS = 2.0


@dataclass(frozen=True)
class Backend:
    """Stubs of the scheduler, the filestore and the lock service."""

    tasks: TaskServiceAsyncStub
    """TaskService of the scheduler."""
    access: AccessServiceAsyncStub
    """AccessService of the scheduler."""
    files: FileServiceAsyncStub
    """FileService of the filestore."""
    upload: Callable[[], Any]
    """FileService.Upload, which also takes a chunk as `runtime.chunk_codec` has encoded it."""
    download: Callable[[file_pb2.DownloadRequest], Any]
    """FileService.Download, which gives a chunk as a view of its bytes."""
    workflows: WorkflowServiceAsyncStub
    """WorkflowService of the scheduler."""
    submitter: Submitter
    """TaskService.SubmitTask, many over one stream."""
    direct: DirectReads
    """Reads of large files past the filestore."""
    in_place_uploads: InPlaceUploads
    """Uploads into the filestore's own folder."""
    in_place_reads: InPlaceReads
    """Reads from it."""
    default_bucket: DefaultBucket
    """What an empty bucket means."""
    redirects: Redirects
    """Where clients can read files past this gateway."""
    health: Mapping[str, Any]
    """Health service of each service, by its name."""
    channels: Mapping[str, grpc.aio.Channel]
    """Channel to each service, by its name."""
    lock_monitor: LockMonitorAsyncStub | None
    """LockMonitor of the lock service; None in an installation without one."""

    @property
    def locks(self) -> LockMonitorAsyncStub:
        """LockMonitor of the lock service. Raises Unavailable in an installation without one."""
        if self.lock_monitor is None:
            raise Unavailable("this installation has no lock service; see gateway.gpulock_address")
        return self.lock_monitor

    async def read(self, call: Callable[..., Awaitable[T]], request: object) -> T:
        """Make a unary call that changes nothing, or nothing unless it comes to its end; it ends when our client goes away."""
        async with rpc_errors():
            return await call(request)

    async def change(
        self, call: Callable[..., Awaitable[T]], request: object, *, service: str = SCHEDULER
    ) -> T:
        """Make a unary call that changes something; it runs to its end although our client goes away.

        Reads are repeated by gRPC when a connection breaks; a change is not, so it waits for the connection first.
        """
        await self.connected(service)
        task = asyncio.ensure_future(self.read(call, request))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_log_unseen)
            raise

    async def connected(self, service: str) -> None:
        """Wait a moment for the connection to a service while there is none, for example because the service restarts."""
        await _connected(self.channels[service])

    async def serving(self, service: str) -> bool:
        """Ask one service whether it is ready for calls."""
        request = health_pb2.HealthCheckRequest()
        try:
            async with rpc_errors():
                answer = await self.health[service].Check(request, timeout=_HEALTH_TIMEOUT_SECONDS)
        except YiVideoError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


async def _connected(channel: grpc.aio.Channel) -> None:
    if channel.get_state() is grpc.ChannelConnectivity.READY:
        return
    with suppress(TimeoutError):
        async with asyncio.timeout(_CONNECT_SECONDS):
            await channel.channel_ready()


def _log_unseen(task: asyncio.Future[Any]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.warning("a change failed after its client had gone", reason=str(error))


@asynccontextmanager
async def open_backend(settings: GatewaySettings) -> AsyncIterator[Backend]:
    """Open the channels for the time of a block."""
    channels = {
        SCHEDULER: open_channel(settings.gateway.scheduler_address, settings.runtime),
        FILESTORE: open_channel(settings.gateway.filestore_address, settings.runtime),
    }
    if settings.gateway.gpulock_address:
        channels[GPULOCK] = open_channel(settings.gateway.gpulock_address, settings.runtime)
    filestore = channels[FILESTORE]
    tasks = TaskServiceStub(channels[SCHEDULER])
    submitter = Submitter(
        tasks, partial(_connected, channels[SCHEDULER]), settings.runtime.call_timeout_seconds
    )
    direct = DirectReads(settings.gateway.direct_download_bytes, settings.gateway.stalled_client_seconds)
    in_place_uploads = InPlaceUploads(settings.gateway.in_place_upload_bytes)
    in_place_reads = InPlaceReads(wanted=settings.gateway.in_place_reads)
    files = FileServiceStub(filestore)
    try:
        yield Backend(
            tasks=tasks,
            access=AccessServiceStub(channels[SCHEDULER]),
            workflows=WorkflowServiceStub(channels[SCHEDULER]),
            submitter=submitter,
            files=files,
            default_bucket=DefaultBucket(files),
            upload=filestore.stream_unary(
                f"/{_FILE_SERVICE}/Upload",
                request_serializer=writer(),
                response_deserializer=file_pb2.UploadResponse.FromString,
            ),
            download=filestore.unary_stream(
                f"/{_FILE_SERVICE}/Download",
                request_serializer=file_pb2.DownloadRequest.SerializeToString,
                response_deserializer=reader(file_pb2.DownloadResponse, "chunk"),
            ),
            direct=direct,
            in_place_uploads=in_place_uploads,
            in_place_reads=in_place_reads,
            redirects=Redirects(settings.gateway.redirect_downloads == "auto"),
            health={service: health_pb2_grpc.HealthStub(channel) for service, channel in channels.items()},
            channels=channels,
            lock_monitor=LockMonitorStub(channels[GPULOCK]) if GPULOCK in channels else None,
        )
    finally:
        await submitter.aclose()
        await direct.aclose()
        in_place_uploads.close()
        in_place_reads.close()
        for channel in channels.values():
            await channel.close()
