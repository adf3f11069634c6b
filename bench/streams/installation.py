"""Redis, schedulers, the talking node and a gateway, each a process of its own, and what they hold open."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from prometheus_client.parser import text_string_to_metric_families
from redis.asyncio import Redis

from bench.parts import port_of, redis_part, redis_url, settings
from bench.servers import QUIET
from stack.log_files import LogFiles
from stack.part import PartSpec, python_part
from stack.ports import free_address
from stack.probes import http_probe, rpc_probe, scheduler_probe
from stack.supervisor import Supervisor

_TOKEN = "bench-streams-token-of-this-run-only"


@dataclass
class RedisClients:
    """Connections that Redis sees of everybody but this bench."""

    all: int
    readers: int
    """Those with a subscription."""
    blocked: int
    """Those that wait inside a command."""


class Installation:
    """What runs."""

    def __init__(self, folder: Path, schedulers: int, watchers: int) -> None:
        self._folder = folder
        self._watchers = watchers
        self._supervisor = Supervisor(LogFiles(folder / "logs"))
        self.redis = free_address()
        self.node = free_address()
        self.gateway = free_address()
        self.receiver_port = port_of(free_address())
        self.dead_port = port_of(free_address())
        self.schedulers = [free_address() for _ in range(schedulers)]

    @property
    def token(self) -> str:
        """Bearer token of the gRPC servers."""
        return _TOKEN

    @property
    def redis_url(self) -> str:
        """Where Redis is."""
        return redis_url(self.redis, _TOKEN)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run it for the time of the block; a part that dies is started again."""
        redis = redis_part(self._folder, self.redis, _TOKEN)
        async with self._supervisor.running(
            [[redis], [*self._scheduler_parts(), self._node_part()], [self._gateway_part()]]
        ):
            yield

    def _environment(self, listen: str, **values: str) -> dict[str, str]:
        return {**QUIET, **settings(listen, _TOKEN, **values)}

    def _scheduler_parts(self) -> list[PartSpec]:
        nodes = json.dumps([{"node": "talker", "addresses": [self.node]}])
        return [
            python_part(
                f"scheduler-{number}",
                "scheduler",
                scheduler_probe(address, _TOKEN, lambda: {"talker"}),
                self._environment(
                    address,
                    scheduler__redis_url=self.redis_url,
                    scheduler__nodes=nodes,
                    scheduler__callbacks__allow=json.dumps(["127.0.0.1"]),
                ),
            )
            for number, address in enumerate(self.schedulers)
        ]

    def _node_part(self) -> PartSpec:
        environment = self._environment(
            self.node,
            node__work_root=str(self._folder / "work"),
            node__output_root=str(self._folder / "outputs"),
            node__max_events="20000",
        )
        return python_part("node", "bench.streams.node", rpc_probe(self.node), environment)

    def _gateway_part(self) -> PartSpec:
        environment = self._environment(
            "127.0.0.1:0",
            gateway__listen=self.gateway,
            gateway__scheduler_address=f"ipv4:{','.join(self.schedulers)}",
            gateway__filestore_address="127.0.0.1:1",
            gateway__max_event_streams=str(2 * self._watchers + 100),
            gateway__serve_metrics="true",
        )
        return python_part("gateway", "gateway", http_probe(f"http://{self.gateway}/healthz"), environment)

    def pid(self, name: str) -> int:
        """Return the process id of a part that runs."""
        pid = self._supervisor.parts[name].pid
        assert pid is not None, name
        return pid

    async def whole(self) -> None:
        """Wait until every scheduler replica is up and listens, those too that were killed."""
        async with asyncio.timeout(60):
            while (await self.redis_clients()).readers < len(self.schedulers) or not all(
                self._supervisor.parts[f"scheduler-{number}"].pid for number in range(len(self.schedulers))
            ):
                await asyncio.sleep(0.1)

    def kill_scheduler(self, number: int) -> None:
        """SIGKILL one scheduler replica; it is started again after half a second."""
        os.killpg(self.pid(f"scheduler-{number}"), signal.SIGKILL)

    def memory_bytes(self, name: str) -> int:
        """Return the resident size of a part now."""
        status = Path(f"/proc/{self.pid(name)}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) * 1024

    async def figure(self, http: aiohttp.ClientSession, name: str) -> float:
        """Return one of the gateway's figures."""
        async with http.get(f"http://{self.gateway}/metrics") as response:
            text = await response.text()
        return sum(s.value for f in text_string_to_metric_families(text) for s in f.samples if s.name == name)

    async def redis_clients(self) -> RedisClients:
        """Ask Redis who is connected."""
        async with Redis.from_url(self.redis_url) as client:
            await client.client_setname("bench")
            entries = [entry for entry in await client.client_list() if entry["name"] != "bench"]
        return RedisClients(
            len(entries),
            sum(int(entry["sub"]) > 0 for entry in entries),
            sum("b" in entry["flags"] for entry in entries),
        )
