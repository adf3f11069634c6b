"""One installation spread over hosts: mutual TLS between all of them, Redis with sentinels, nodes found by name."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from bench import parts
from bench.chaos.faults import SCHEDULERS
from bench.chaos.kept_parts import INSTALLATION_VARIABLE, KeptParts
from bench.hosts.certificates import Certificates
from bench.hosts.names import Names
from bench.hosts.network import CLIENTS, HOSTS, Arrow, Network, within
from bench.redis_group import RedisGroup
from gateway.keys import key_sha256, new_key
from gateway.settings import Scope
from stack.part import Part, PartSpec, python_part
from stack.private_files import new_callback_secret
from stack.probes import http_probe, rpc_probe

NODES = {"forge": ("forge", "node-a"), "forge-2": ("forge", "node-b"), "anvil": ("anvil", "node-b")}
"""Part → the node that it is a replica of, and its host."""
GUEST = "forge-3"
GUEST_HOST = "node-c"
"""A replica that comes and goes while the story lasts."""
_KINDS = {"forge": 7100, "anvil": 7101}
_SCHEDULER, _FILESTORE, _GATEWAY, _HEALTH = 7000, 7200, 8788, 7900
_DRAIN_SECONDS = 3.0
_REDIS_HOSTS = ("redis-a", "redis-b", "redis-c")
_NODE_HOSTS = ("node-a", "node-b", "node-c")


class HostsInstallation(KeptParts):
    """One installation; `async with installation.running()` has it up."""

    def __init__(self, folder: Path, receivers: dict[str, str], *, min_replicas: int) -> None:
        super().__init__(folder)
        self.secret = new_callback_secret()
        self.key = new_key()
        self._certificates = Certificates(folder / "certificates")
        self.network = Network()
        self.names = Names(folder / "names")
        self.redis = RedisGroup(
            folder / "redis",
            server_hosts=[HOSTS[host] for host in _REDIS_HOSTS],
            sentinel_hosts=[HOSTS[host] for host in _REDIS_HOSTS],
            min_replicas_to_write=1 if min_replicas else 0,
            down_ms=2000,
            within=within,
            tls=self._certificates.files,
            client_host=CLIENTS,
        )
        self._min_replicas = min_replicas
        self._receivers = receivers
        self._token = secrets.token_hex(16)

    @property
    def authority(self) -> Path:
        """The certificate that all others are signed with."""
        return self._certificates.authority

    @property
    def url(self) -> str:
        """Address of the REST surface."""
        return f"http://{HOSTS['gateway']}:{_GATEWAY}"

    def arrows(self) -> list[Arrow]:
        """Return who calls whom: all that the network lets through, beside the health that this story asks for."""
        schedulers = tuple(HOSTS[name] for name in SCHEDULERS)
        redises = tuple(HOSTS[name] for name in _REDIS_HOSTS)
        nodes = tuple(HOSTS[name] for name in _NODE_HOSTS)
        found = [
            Arrow((CLIENTS,), "gateway", _GATEWAY),
            Arrow((HOSTS["gateway"], *schedulers, *nodes), "filestore", _FILESTORE),
            Arrow((*schedulers, HOSTS["gateway"]), "dns", 53, "udp"),
        ]
        found += [Arrow((HOSTS["gateway"],), name, _SCHEDULER) for name in SCHEDULERS]
        found += [Arrow(schedulers, host, port) for host in _NODE_HOSTS for port in _KINDS.values()]
        for member in (*self.redis.servers, *self.redis.sentinels):
            host = next(name for name in _REDIS_HOSTS if HOSTS[name] == member.host)
            # Who runs the story looks at servers and sentinels, as an operator does.
            found.append(Arrow((*schedulers, *redises, CLIENTS), host, member.port))
        hosts = ("filestore", *SCHEDULERS, *_NODE_HOSTS)
        return found + [Arrow((CLIENTS,), host, _HEALTH + n) for host in hosts for n in range(2)]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Have everything up for the time of the block."""
        self.network.make()
        self.network.arrows = self.arrows()
        self.network.apply()
        for kind, host in set(NODES.values()):
            self.names.add(kind, HOSTS[host])
        for name in SCHEDULERS:
            self.names.add("scheduler", HOSTS[name])
        self.names.run()
        stages = [
            [self._filestore()],
            [self._node(name, *NODES[name]) for name in NODES],
            [self._scheduler(name) for name in SCHEDULERS],
            [self._gateway()],
        ]
        try:
            with self.redis.running():
                async with self.stages(stages):
                    self.keep()
                    yield
        finally:
            self.names.stop()

    async def gain(self) -> None:
        """Start the guest and give its address to the node's name."""
        spec = self._node(GUEST, "forge", GUEST_HOST)
        self.parts[GUEST] = part = Part(spec, self.folder / "logs" / f"{GUEST}.log")
        await part.start()
        self.names.add("forge", HOSTS[GUEST_HOST])

    async def lose(self) -> None:
        """Take the guest's address away and, when schedulers have seen that, have it drain."""
        self.names.remove("forge", HOSTS[GUEST_HOST])

    async def stop_guest(self) -> None:
        """Have the guest drain and end."""
        await self.parts[GUEST].stop()

    def _part(self, name: str, module: str, host: str, port: int, probe_at: int, **values: str) -> PartSpec:
        address = HOSTS[host]
        environment = parts.settings(f"{address}:{port}", self._token, **values)
        environment |= self._certificates.settings(address)
        environment["YIVIDEO_RUNTIME__DRAIN_SECONDS"] = str(_DRAIN_SECONDS)
        environment["YIVIDEO_RUNTIME__METRICS_LISTEN"] = ""
        environment["YIVIDEO_RUNTIME__HEALTH_LISTEN"] = f"{address}:{probe_at}"
        environment[INSTALLATION_VARIABLE] = str(self.folder)
        spec = python_part(name, module, rpc_probe(f"{address}:{probe_at}"), environment)
        return replace(spec, argv=(*within(host), *spec.argv))

    def _filestore(self) -> PartSpec:
        root = str(self.folder / "files")
        return self._part("filestore", "filestore", "filestore", _FILESTORE, _HEALTH, filestore__root=root)

    def _node(self, name: str, kind: str, host: str) -> PartSpec:
        port = _KINDS[kind]
        spec = self._part(
            name,
            "bench.chaos.smithy",
            host,
            port,
            _HEALTH + port % 2,
            node__filestore=f"{HOSTS['filestore']}:{_FILESTORE}",
            node__work_root=str(self.folder / "work" / name),
        )
        return replace(spec, environment={**spec.environment, "CHAOS_NODE": kind})

    def _scheduler(self, name: str) -> PartSpec:
        nodes = [
            {"node": kind, "addresses": [f"{self.names.name(kind)}:{port}"]} for kind, port in _KINDS.items()
        ]
        return self._part(
            name,
            "scheduler",
            name,
            _SCHEDULER,
            _HEALTH,
            scheduler__redis_url=self.redis.url(host=HOSTS[name]),
            scheduler__min_replicas=str(self._min_replicas),
            scheduler__filestore_address=f"{HOSTS['filestore']}:{_FILESTORE}",
            scheduler__nodes=json.dumps(nodes),
            scheduler__resolve_seconds="1",
            scheduler__callbacks__secrets=json.dumps([self.secret]),
            scheduler__callbacks__allow=json.dumps(list(self._receivers.values())),
            scheduler__callbacks__schedule_seconds=json.dumps([1, 2, 4, *[5] * 20]),
            scheduler__callbacks__circuit_seconds="3",
            scheduler__callbacks__timeout_seconds="5",
            scheduler__callbacks__hold_seconds="8",
        )

    def _gateway(self) -> PartSpec:
        keys = [
            {"key_sha256": key_sha256(self.key), "user": "story", "scopes": [scope.value for scope in Scope]}
        ]
        spec = self._part(
            "gateway",
            "gateway",
            "gateway",
            0,
            _HEALTH,
            gateway__listen=f"{HOSTS['gateway']}:{_GATEWAY}",
            gateway__scheduler_address=f"dns:///{self.names.name('scheduler')}:{_SCHEDULER}",
            gateway__filestore_address=f"{HOSTS['filestore']}:{_FILESTORE}",
            gateway__api_keys=json.dumps(keys),
        )
        return replace(spec, probe=http_probe(f"{self.url}/readyz"))
