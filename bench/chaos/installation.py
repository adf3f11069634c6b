"""Every process of a real installation, kept alive as a supervisor would, its wires in the bench's hand."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import secrets
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bench import parts
from bench.chaos.faults import NODES, SCHEDULERS, WIRES
from bench.chaos.kept_parts import INSTALLATION_VARIABLE, KeptParts
from bench.chaos.proxy import PART_VARIABLE
from runtime.program import Program, dying_with_us
from stack.part import PartSpec, python_part
from stack.private_files import new_callback_secret
from stack.probes import http_probe, rpc_probe, scheduler_probe

KINDS = {"forge": "forge", "forge-2": "forge", "anvil": "anvil"}
_WIRES_SECONDS = 20.0
_BACK_SECONDS = 60.0
_DRAIN_SECONDS = 3.0
"""Tasks take seconds here; with the default of ten, most would end by themselves and few be handed back."""


def quiet_address() -> str:
    """Find a free loopback port below those that the kernel gives to outgoing connections: it is bound again and again."""
    while True:
        address = "127.0.0.1", random.randrange(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(address)
            return f"{address[0]}:{address[1]}"


class Installation(KeptParts):
    """One installation; `async with installation.running()` has it up."""

    def __init__(self, folder: Path, allow: list[str]) -> None:
        super().__init__(folder)
        self.secret = new_callback_secret()
        self._allow = allow
        self._token = secrets.token_hex(16)
        self._addresses = {
            name: quiet_address() for name in ("redis", "filestore", "gateway", *SCHEDULERS, *NODES)
        }
        self._crossings = {name: quiet_address() for name in NODES}
        self._wires: Program | None = None
        self._used: set[str] = set()

    @property
    def url(self) -> str:
        """Address of the REST surface."""
        return f"http://{self._addresses['gateway']}"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Have everything up for the time of the block."""
        stages = [
            [parts.redis_part(self.folder, self._addresses["redis"], self._token), self._filestore()],
            [self._node(name) for name in NODES],
            [self._scheduler(name) for name in SCHEDULERS],
            [self._gateway()],
        ]
        async with self._proxy(), self.stages(stages):
            await self._all_wires_are_used()
            self.keep()
            yield

    async def restart(self, *, at_once: bool) -> None:
        """Tell every part to stop, all at once or in the order of trust, and have all come back; gives when they serve again."""
        self.may_run.clear()
        tiers = [["gateway"], [*NODES], [*SCHEDULERS], ["filestore"], ["redis"]]
        for names in [[name for tier in tiers for name in tier]] if at_once else tiers:
            await asyncio.gather(*(self.parts[name].stop() for name in names))
        self.may_run.set()
        async with asyncio.timeout(_BACK_SECONDS):
            while not all([part.pid and await part.spec.probe() for part in self.parts.values()]):
                await asyncio.sleep(0.05)

    def wire(self, word: str, name: str) -> None:
        """Tell the proxy: `hole`, `pass` or `sever` a wire."""
        assert self._wires is not None and self._wires.stdin is not None
        self._wires.stdin.write(json.dumps([word, name]).encode() + b"\n")

    @asynccontextmanager
    async def _proxy(self) -> AsyncIterator[None]:
        table = {name: [self._crossings[name], self._addresses[name]] for name in NODES}
        argv = [*dying_with_us("KILL"), sys.executable, "-m", "bench.chaos.proxy", json.dumps(table)]
        self._wires = await Program.start(argv, stdin=True, stdout=True, stderr=False, environment=os.environ)
        assert self._wires.stdout is not None
        listening = asyncio.create_task(self._note_wires(self._wires.stdout))
        try:
            yield
        finally:
            listening.cancel()
            self._wires.close()
            await self._wires.wait()

    async def _note_wires(self, lines: asyncio.StreamReader) -> None:
        while line := await lines.readline():
            self._used.add(line.decode().strip())

    async def _all_wires_are_used(self) -> None:
        """Wait until the proxy has seen every scheduler call every node: a cut of a wire that nobody uses would prove nothing."""
        async with asyncio.timeout(_WIRES_SECONDS):
            while not self._used >= set(WIRES):
                await asyncio.sleep(0.05)

    def _environment(self, name: str, **values: str) -> dict[str, str]:
        own = parts.settings(self._addresses.get(name, "127.0.0.1:0"), self._token, **values)
        own["YIVIDEO_RUNTIME__DRAIN_SECONDS"] = str(_DRAIN_SECONDS)
        return {INSTALLATION_VARIABLE: str(self.folder), PART_VARIABLE: name, **own}

    def _filestore(self) -> PartSpec:
        environment = self._environment("filestore", filestore__root=str(self.folder / "files"))
        return python_part("filestore", "filestore", rpc_probe(self._addresses["filestore"]), environment)

    def _scheduler(self, name: str) -> PartSpec:
        nodes = [
            {"node": kind, "addresses": [self._crossings[node] for node in NODES if KINDS[node] == kind]}
            for kind in sorted(set(KINDS.values()))
        ]  # fmt: skip
        environment = self._environment(
            name,
            scheduler__redis_url=parts.redis_url(self._addresses["redis"], self._token),
            scheduler__filestore_address=self._addresses["filestore"],
            scheduler__nodes=json.dumps(nodes),
            scheduler__callbacks__secrets=json.dumps([self.secret]),
            scheduler__callbacks__allow=json.dumps(self._allow),
            # A story has minutes, not the two days of the default: the waits grow no further than its own faults last.
            scheduler__callbacks__schedule_seconds=json.dumps([1, 2, 4, *[5] * 20]),
            scheduler__callbacks__circuit_seconds="3",
            scheduler__callbacks__timeout_seconds="5",
            scheduler__callbacks__hold_seconds="8",
        )
        probe = scheduler_probe(self._addresses[name], self._token, lambda: set(KINDS.values()))
        return python_part(name, "scheduler", probe, environment)

    def _node(self, name: str) -> PartSpec:
        environment = self._environment(
            name,
            node__filestore=self._addresses["filestore"],
            node__work_root=str(self.folder / "work" / name),
        )
        environment["CHAOS_NODE"] = KINDS[name]
        return python_part(name, "bench.chaos.smithy", rpc_probe(self._addresses[name]), environment)

    def _gateway(self) -> PartSpec:
        environment = self._environment(
            "",
            gateway__listen=self._addresses["gateway"],
            gateway__scheduler_address=f"ipv4:{','.join(self._addresses[name] for name in SCHEDULERS)}",
            gateway__filestore_address=self._addresses["filestore"],
        )
        return python_part("gateway", "gateway", http_probe(f"{self.url}/readyz"), environment)
