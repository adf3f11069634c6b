"""Which parts the embedded stack has, and what each is told."""

from __future__ import annotations

import base64
import json
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from gpulock.settings import GpulockSettings
from runtime.addresses import join_host_port, split_host_port
from runtime.settings import load_settings
from stack.devices import find_devices
from stack.part import PartSpec, python_part
from stack.placement import PlacedNode, addresses_by_task_prefix, part_name, place_nodes
from stack.probes import http_probe, redis_probe, rpc_probe, scheduler_probe
from stack.redis_config import Sync, write_redis_config
from stack.settings import StackSection
from stack.supervisor import Supervisor

_SCHEDULER_READY_SECONDS = 45.0
"""Longer than a node may take: it waits for the tasks of each."""


def new_callback_secret() -> str:
    """Make a Standard Webhooks secret."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def free_address(host: str = "127.0.0.1") -> str:
    """Find a port that is free now; gives `host:port`."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return join_host_port(host, probe.getsockname()[1])


class Stack:
    """One embedded stack; `async with stack.running()` has it up. Addresses are chosen when it is made.

    Making one raises UnknownNode for a picked node that there is not, PartFailed for one that it cannot do without.
    """

    def __init__(self, section: StackSection) -> None:
        self._section = section
        self._folder = section.folder.resolve()
        self._token = secrets.token_hex(32)
        self._supervisor = Supervisor(self._folder / "logs")
        host, port = split_host_port(section.gateway_listen)
        self._gateway = section.gateway_listen if port else free_address(host)
        self.redis = free_address()
        self.lease_redis = free_address() if section.lease_redis else self.redis
        self.filestore = free_address()
        self.schedulers = [free_address() for _ in range(section.scheduler_replicas)]
        self.gpulocks = [free_address() for _ in range(section.gpulock_replicas)]
        self.nodes, self.left_out = place_nodes(section, free_address)
        self.devices = section.devices or find_devices()

    @property
    def url(self) -> str:
        """Address of the REST surface."""
        return f"http://{self._gateway}"

    @property
    def token(self) -> str:
        """Bearer token of the stack's gRPC servers."""
        return self._token

    @property
    def part_names(self) -> list[str]:
        """Names of the parts that run, in the order of their start."""
        return list(self._supervisor.parts)

    @property
    def failed(self) -> dict[str, str]:
        """Optional parts that did not start, and the end of their logs."""
        return self._supervisor.failed

    def pid(self, name: str) -> int | None:
        """Process id of a part while it runs."""
        return self._supervisor.parts[name].pid

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the stack for the time of the block. Raises PartFailed when a part cannot be started."""
        self._folder.mkdir(parents=True, exist_ok=True)
        stages = [
            self._redis_parts(),
            [self._filestore_part(), *self._gpulock_parts()],
            [*self._scheduler_parts(), *self._node_parts()],
            [self._gateway_part()],
        ]
        async with self._supervisor.running(stages):
            card = self._folder / "stack.json"
            _write_private(card, json.dumps(self._card(), indent=2))
            try:
                yield
            finally:
                card.unlink(missing_ok=True)

    def _card(self) -> dict[str, object]:
        """Say where everything is, for tools and tests: addresses, token, process ids."""
        return {
            "url": self.url,
            "token": self._token,
            "schedulers": self.schedulers,
            "filestore": self.filestore,
            "gpulock": self.gpulocks,
            "nodes": {node.row.name: node.addresses for node in self.nodes},
            "left_out": {absent.name: absent.reasons for absent in self.left_out},
            "redis": self.redis,
            "lease_redis": self.lease_redis,
            "pids": {name: part.pid for name, part in self._supervisor.parts.items()},
        }

    def _environment(self, listen: str, **values: str) -> dict[str, str]:
        return {
            "YIVIDEO_RUNTIME__LISTEN": listen,
            "YIVIDEO_RUNTIME__TOKEN": self._token,
            **{f"YIVIDEO_{name.upper()}": value for name, value in values.items()},
        }

    def _redis_parts(self) -> list[PartSpec]:
        parts = [self._redis_part("redis", self.redis, "always")]
        if self._section.lease_redis:
            parts.append(self._redis_part("lease-redis", self.lease_redis, "everysec"))
        return parts

    def _redis_part(self, name: str, address: str, sync: Sync) -> PartSpec:
        _, port = split_host_port(address)
        config = write_redis_config(self._folder / name, port, self._token, sync=sync)
        return PartSpec(name, ("redis-server", str(config)), redis_probe(address, self._token))

    def _filestore_part(self) -> PartSpec:
        environment = self._environment(
            self.filestore, filestore__root=str(self._folder / "files"), filestore__gateway_url=self.url
        )
        return python_part("filestore", "filestore", rpc_probe(self.filestore), environment)

    def _scheduler_parts(self) -> list[PartSpec]:
        environments = [
            self._environment(
                address,
                scheduler__redis_url=f"redis://:{self._token}@{self.redis}/0",
                scheduler__filestore_address=self.filestore,
                scheduler__nodes=json.dumps(addresses_by_task_prefix(self.nodes)),
                scheduler__callbacks__secrets=json.dumps([self._callback_secret()]),
                scheduler__callbacks__allow=json.dumps(self._section.allow_addresses),
                scheduler__callbacks__public_url=self.url,
            )
            for address in self.schedulers
        ]
        return [
            python_part(
                part_name("scheduler", i),
                "scheduler",
                scheduler_probe(address, self._token, self._serving_nodes),
                environment,
                ready_seconds=_SCHEDULER_READY_SECONDS,
            )
            for i, (address, environment) in enumerate(zip(self.schedulers, environments, strict=True))
        ]

    def _gpulock_parts(self) -> list[PartSpec]:
        devices = [device.model_dump() for device in self.devices]
        silences = _silences()
        return [
            python_part(
                part_name("gpulock", i),
                "gpulock",
                rpc_probe(address),
                self._environment(
                    address,
                    gpulock__redis_url=f"redis://:{self._token}@{self.lease_redis}/2",
                    gpulock__devices=json.dumps(devices),
                    gpulock__initial_state="new",
                    **silences,
                ),
            )
            for i, address in enumerate(self.gpulocks)
        ]

    def _serving_nodes(self) -> set[str]:
        """Return the nodes whose tasks a scheduler must know before it counts as ready: those of which a process has not failed."""
        return {
            node.row.task_prefix
            for node in self.nodes
            if any(name not in self._supervisor.failed for name in node.part_names)
        }

    def _node_parts(self) -> list[PartSpec]:
        return [
            self._node_part(node, name, address)
            for node in self.nodes
            for name, address in zip(node.part_names, node.addresses, strict=True)
        ]

    def _node_part(self, node: PlacedNode, name: str, address: str) -> PartSpec:
        environment = self._environment(
            address,
            node__filestore=self.filestore,
            node__slots=str(node.slots),
            node__work_root=str(self._folder / "work" / name),
            node__allowed_roots=json.dumps(self._shared_roots()),
            node__egress_allow=json.dumps(self._section.allow_addresses),
            gpu__lock=json.dumps(self.gpulocks),
            gpu__guard_root=str(self._folder / "guard"),
        )
        return python_part(
            name,
            node.row.module,
            rpc_probe(address),
            environment,
            interpreter=node.interpreter,
            optional=node.row.optional,
        )

    def _gateway_part(self) -> PartSpec:
        environment = self._environment(
            "127.0.0.1:0",
            gateway__listen=self._gateway,
            gateway__scheduler_address=_target(self.schedulers),
            gateway__filestore_address=self.filestore,
            gateway__gpulock_address=_target(self.gpulocks),
        )
        return python_part("gateway", "gateway", http_probe(f"{self.url}/readyz"), environment)

    def _shared_roots(self) -> list[str]:
        return [str(self._section.shared_root.resolve())] if self._section.shared_root else []

    def _callback_secret(self) -> str:
        if self._section.callback_secret:
            return self._section.callback_secret
        return _kept_secret(self._folder / "callback_secret")


def _silences() -> dict[str, str]:
    """Return the stack's own beats; none where beats are set, since a part's environment would go before that."""
    set_by_user = load_settings(GpulockSettings).gpu_lock_monitor.model_fields_set
    return {} if "heartbeat" in set_by_user else _SHORT_SILENCES


_SHORT_SILENCES = {
    "gpu_lock_monitor__heartbeat__interval": "5",
    "gpu_lock_monitor__heartbeat__timeout": "20",
    "gpulock__recovery_window_seconds": "10",
}
"""Everything is on one machine, so that a holder that has been silent for seconds is dead, and nobody waits for the minutes that
the lock service gives the holders of a cluster."""


def _target(addresses: list[str]) -> str:
    """Return a gRPC target for one address or several."""
    return addresses[0] if len(addresses) == 1 else f"ipv4:{','.join(addresses)}"


def _kept_secret(path: Path) -> str:
    """Read the secret, or make it at the first start: receivers must be able to keep theirs over restarts."""
    if not path.exists():
        _write_private(path, new_callback_secret())
    return path.read_text()


def _write_private(path: Path, text: str) -> None:
    """Write a file that only its owner reads; it appears whole or not at all."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    new.touch(mode=0o600)
    new.write_text(text)
    new.replace(path)
