"""One running replica of a node: its work folder, its reaper, its workers, its store and its server, up and down in order."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from nodekit.attempt.attempts import AttemptTable
from nodekit.attempt.execution import Workshop
from nodekit.attempt.kept_ends import KeptEnds
from nodekit.attempt.servicer import NodeServicer
from nodekit.gpu.lease_client import LeaseClient, open_lease_client
from nodekit.gpu.transport import OpenStream
from nodekit.gpu.warm import WarmShelf
from nodekit.media.file_folder import FolderFiles
from nodekit.media.file_service import ServiceStore
from nodekit.media.files import Store
from nodekit.media.media_cache import MediaCache
from nodekit.media.media_in import MediaIn
from nodekit.node import Node
from nodekit.process.cores import thread_environment, threads_for
from nodekit.process.reaper import reaping
from nodekit.process.worker import Wear, WorkerPool
from nodekit.settings import NodeSettings
from nodekit.work_folder import WorkFolder, work_folder
from runtime.channel import open_channel
from runtime.egress import Egress, EgressPolicy
from runtime.logs import get_logger
from runtime.server import RpcServer
from yivideo.task.v1 import task_pb2_grpc

log = get_logger(__name__)

SERVICE = "yivideo.task.v1.TaskService"


class Replica:
    """One process's worth of a node. `async with replica.running() as address`; leaving the block drains it.

    `own_process`: whether the process is the replica's alone, so that it may be killed when it freezes. `locks` arbitrates its GPUs
    in place of what the settings name.
    """

    def __init__(
        self,
        node: Node,
        settings: NodeSettings,
        locks: OpenStream | None = None,
        *,
        own_process: bool = False,
    ) -> None:
        self._node = node
        self._locks = locks
        self._settings = settings
        self._frozen_seconds = settings.node.frozen_seconds if own_process else 0.0
        self.name = f"{node.name}-{secrets.token_hex(6)}"
        """This replica's own id, new at every start."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Serve for the time of the block; gives the address."""
        async with AsyncExitStack() as stack:
            folder = await stack.enter_async_context(
                work_folder(self._node.name, self._settings.node.work_root)
            )
            removed = folder.root if folder.temporary else None
            reaper = await stack.enter_async_context(reaping(f"{self.name}/", removed, self._frozen_seconds))
            lease_client = await stack.enter_async_context(
                open_lease_client(
                    self._settings.gpu,
                    self._settings.runtime,
                    self._node.name,
                    self.name,
                    reaper,
                    self._locks,
                )
            )
            kept_ends = None if folder.temporary else KeptEnds(folder.ends)
            past = await asyncio.to_thread(kept_ends.read) if kept_ends else []
            workshop = self._workshop(folder, lease_client, stack)
            attempts = AttemptTable(self._node, workshop, kept_ends, past)
            servicer = NodeServicer(self._node, self.name, attempts, self._settings.node.heartbeat_seconds)
            server = RpcServer(self._settings.runtime)
            server.add(task_pb2_grpc.add_TaskServiceServicer_to_server, servicer, SERVICE)
            async with server.running() as address:
                log.info("node serves", node=self._node.name, replica=self.name, slots=attempts.slots)
                try:
                    yield address
                finally:
                    # Refuse new work before health says so: a scheduler that asks in between is told to go elsewhere.
                    attempts.begin_drain()
                    await server.begin_drain()
                    await attempts.drain(self._settings.runtime.drain_seconds)
                    servicer.closing.set()

    def _workshop(self, folder: WorkFolder, lease_client: LeaseClient, stack: AsyncExitStack) -> Workshop:
        settings = self._settings.node
        store: Store
        if settings.filestore:
            store = ServiceStore(open_channel(settings.filestore, self._settings.runtime), settings)
        else:
            store = FolderFiles(settings.output_root)
        egress = Egress(EgressPolicy(allow=settings.egress_allow, setting="node.egress_allow"))
        slots = settings.slots or self._node.slots
        threads = threads_for(settings.threads, slots)
        environment = thread_environment(threads)
        wear = Wear(int(settings.worker_growth_mib * 1024 * 1024), settings.worker_max_calls)
        workers = WorkerPool(
            f"{self.name}/worker-",
            settings.worker_idle_seconds,
            settings.max_workers or 2 * slots,
            environment,
            wear,
        )
        shelf = WarmShelf(lease_client, environment, wear)
        for close in (store.aclose, egress.aclose, workers.aclose, shelf.aclose):
            stack.push_async_callback(close)
        cache = MediaCache(folder.cache, int(settings.cache_mib * 1024 * 1024))
        return Workshop(
            node=self._node.name,
            replica=self.name,
            settings=settings,
            store=store,
            media_in=lambda files: MediaIn(settings, files, cache, egress),
            workers=workers,
            lease_client=lease_client,
            shelf=shelf,
            threads=threads,
            scratch=folder.scratch,
        )
