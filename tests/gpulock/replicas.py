"""Replicas of the lock service in this process, and channels to them."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from gpulock.app import LockReplica, leasing
from runtime.server import RpcServer
from tests.gpulock.lock_client import LockChannel, NodeClient, channel, lock_settings


@dataclass
class Running:
    """One replica, and a channel to it."""

    replica: LockReplica
    server: RpcServer
    address: str
    channel: LockChannel


@dataclass
class Replicas:
    """What a test has started."""

    redis_url: str
    stack: AsyncExitStack

    async def replica(self, **settings: Any) -> Running:
        """Start a replica."""
        replica, server, address = await self.stack.enter_async_context(
            leasing(lock_settings(self.redis_url, **settings))
        )
        return Running(replica, server, address, await self.stack.enter_async_context(channel(address)))

    async def client(self, running: Running, client_id: str, **hello: Any) -> NodeClient:
        """Open a session."""
        return await self.stack.enter_async_context(running.channel.client(client_id, **hello))
