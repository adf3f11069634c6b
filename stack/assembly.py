"""Which parts the embedded stack has, and what each is told."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from runtime.addresses import join_host_port, split_host_port
from stack.devices import find_devices
from stack.folder_lock import held_folder
from stack.lock_silences import own_silences
from stack.log_files import LogFiles
from stack.metrics_targets import metrics_addresses, write_targets
from stack.part import PartFailed, PartSpec, python_part
from stack.part_settings import check_settings, drain_seconds
from stack.placement import PlacedNode, addresses_by_task_prefix, part_name, place_nodes, start_commands
from stack.ports import PortBook, is_free
from stack.private_files import kept_secret, write_private
from stack.probes import http_probe, node_probe, redis_probe, rpc_probe, scheduler_probe
from stack.redis_config import Sync, write_redis_config
from stack.settings import StackSection
from stack.supervisor import Supervisor
from stack.telling import Tell, Telling, silent

_STOP_SLACK_SECONDS = 15.0
"""What a part may need besides its drain: to kill what it has started, and to be read to the end."""

# Who is stopped first may still speak to those after it: nodes hand back to schedulers, which write it down.
_GATEWAY_TIER, _NODE_TIER, _SCHEDULER_TIER, _GPULOCK_TIER, _FILESTORE_TIER, _REDIS_TIER = range(6)


class Stack:
    """One embedded stack; `async with stack.running()` has it up. Addresses are chosen when it is made.

    Making one raises UnknownNode for a picked node that there is not, PartFailed for one that it cannot do without.
    """

    def __init__(self, section: StackSection, tell: Tell = silent) -> None:
        """`tell` hears how parts come up and go down, line by line."""
        self._section = section
        self._folder = section.folder.resolve()
        self._token = section.token.get_secret_value() if section.token else secrets.token_hex(32)
        self._tell = tell
        self._drain_seconds = drain_seconds()
        logs = LogFiles(self._folder / "logs", int(section.log_mib * 1024 * 1024), section.log_files)
        self._supervisor = Supervisor(logs, Telling(tell))
        self._ports = PortBook(self._folder / "ports.json")
        host, port = split_host_port(section.gateway_listen)
        self._gateway = (
            section.gateway_listen if port else join_host_port(host, self._ports.port("gateway", host=host))
        )
        self.redis = self._ports.address("redis")
        self.lease_redis = self._ports.address("lease-redis") if section.lease_redis else self.redis
        self.filestore = self._ports.address("filestore")
        self.schedulers = self._replicas("scheduler", section.scheduler_replicas)
        self.gpulocks = self._replicas("gpulock", section.gpulock_replicas)
        self.nodes, self.left_out = place_nodes(section, self._ports.address)
        self.devices = section.devices or find_devices()
        self.metrics = metrics_addresses(section, self._part_names(), self._ports)

    def _replicas(self, kind: str, count: int) -> list[str]:
        return [self._ports.address(part_name(kind, number)) for number in range(count)]

    def _part_names(self) -> list[str]:
        """Return the names of all parts that serve figures."""
        names = ["gateway", "filestore"]
        names += [part_name("scheduler", number) for number in range(len(self.schedulers))]
        names += [part_name("gpulock", number) for number in range(len(self.gpulocks))]
        return [*names, *(name for node in self.nodes for name in node.part_names)]

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
        """Run the stack for the time of the block.

        Raises FolderTaken when another stack has the folder, SettingsError for settings that a part would refuse or that are the
        stack's own to make, PartFailed when a part cannot be started.
        """
        async with held_folder(self._folder, self._tell) as held:
            card = self._folder / "stack.json"
            card.unlink(missing_ok=True)  # of one that was killed
            self._check_machine()
            stages = [
                self._redis_parts(),
                [self._filestore_part(), *self._gpulock_parts(), *self._node_parts()],
                self._scheduler_parts(),
                [self._gateway_part()],
            ]
            check_settings([part for stage in stages for part in stage], self.nodes)
            self._ports.save()
            write_targets(self._targets_file, self.metrics)
            async with self._supervisor.running(stages, [held]):
                write_private(card, json.dumps(self._card(), indent=2))
                try:
                    yield
                finally:
                    card.unlink(missing_ok=True)

    def _check_machine(self) -> None:
        """Raise PartFailed for what a part would only stumble over."""
        if shutil.which("redis-server") is None:
            raise PartFailed("redis: redis-server is not on PATH; `make setup` installs it")
        host, port = split_host_port(self._gateway)
        if not is_free(port, host):
            raise PartFailed(
                f"gateway: {self._gateway} is taken by another process; end it, or set another address in "
                "stack.gateway_listen (YIVIDEO_STACK__GATEWAY_LISTEN)"
            )

    @property
    def _targets_file(self) -> Path:
        return self._folder / "metrics-targets.json"

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
            "lacking": {node.row.name: node.lacking for node in self.nodes if node.lacking},
            "redis": self.redis,
            "lease_redis": self.lease_redis,
            "metrics": self.metrics,
            "pids": {name: part.pid for name, part in self._supervisor.parts.items()},
        }

    def _environment(self, part: str, listen: str, **values: str) -> dict[str, str]:
        return {
            "YIVIDEO_RUNTIME__METRICS_LISTEN": self.metrics[part],
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
        probe = redis_probe(address, self._token)
        return PartSpec(name, ("redis-server", str(config)), probe, tier=_REDIS_TIER)

    def _filestore_part(self) -> PartSpec:
        environment = self._environment(
            "filestore",
            self.filestore,
            filestore__root=str(self._folder / "files"),
            filestore__gateway_url=self.url,
        )
        return python_part(
            "filestore",
            "filestore",
            rpc_probe(self.filestore),
            environment,
            tier=_FILESTORE_TIER,
            stop_seconds=self._stop_seconds,
        )

    @property
    def _stop_seconds(self) -> float:
        return self._drain_seconds + _STOP_SLACK_SECONDS

    def _scheduler_parts(self) -> list[PartSpec]:
        return [
            self._scheduler_part(part_name("scheduler", number), address)
            for number, address in enumerate(self.schedulers)
        ]

    def _scheduler_part(self, name: str, address: str) -> PartSpec:
        environment = self._environment(
            name,
            address,
            scheduler__redis_url=f"redis://:{self._token}@{self.redis}/0",
            scheduler__filestore_address=self.filestore,
            scheduler__nodes=json.dumps(addresses_by_task_prefix(self.nodes, self._section.remote_nodes)),
            scheduler__starts=json.dumps(start_commands(self._section)),
            scheduler__callbacks__secrets=json.dumps([self._callback_secret()]),
            scheduler__callbacks__allow=json.dumps(self._section.allow_addresses),
            scheduler__callbacks__public_url=self.url,
        )
        return python_part(
            name,
            "scheduler",
            scheduler_probe(address, self._token, self._serving_nodes),
            environment,
            tier=_SCHEDULER_TIER,
            stop_seconds=self._stop_seconds,
        )

    def _gpulock_parts(self) -> list[PartSpec]:
        devices = [device.model_dump() for device in self.devices]
        silences = own_silences()
        return [
            python_part(
                part_name("gpulock", number),
                "gpulock",
                rpc_probe(address),
                self._environment(
                    part_name("gpulock", number),
                    address,
                    gpulock__redis_url=f"redis://:{self._token}@{self.lease_redis}/2",
                    gpulock__devices=json.dumps(devices),
                    gpulock__initial_state="new",
                    **silences,
                ),
                tier=_GPULOCK_TIER,
                stop_seconds=self._stop_seconds,
            )
            for number, address in enumerate(self.gpulocks)
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
            name,
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
            node_probe(name, address, self._token, node.row.task_prefix),
            environment,
            interpreter=node.interpreter,
            optional=node.row.optional,
            tier=_NODE_TIER,
            stop_seconds=self._stop_seconds,
        )

    def _gateway_part(self) -> PartSpec:
        environment = self._environment(
            "gateway",
            "127.0.0.1:0",
            gateway__listen=self._gateway,
            gateway__metrics_targets=str(self._targets_file),
            gateway__scheduler_address=_target(self.schedulers),
            gateway__filestore_address=self.filestore,
            gateway__gpulock_address=_target(self.gpulocks),
        )
        return python_part(
            "gateway",
            "gateway",
            http_probe(f"{self.url}/readyz"),
            environment,
            tier=_GATEWAY_TIER,
            stop_seconds=self._stop_seconds,
        )

    def _shared_roots(self) -> list[str]:
        return [str(self._section.shared_root.resolve())] if self._section.shared_root else []

    def _callback_secret(self) -> str:
        if self._section.callback_secret:
            return self._section.callback_secret
        return kept_secret(self._folder / "callback_secret")


def _target(addresses: list[str]) -> str:
    """Return a gRPC target for one address or several."""
    return addresses[0] if len(addresses) == 1 else f"ipv4:{','.join(addresses)}"
