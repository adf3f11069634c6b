"""Every process of a real installation, kept alive as a supervisor would, its wires in the bench's hand."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import secrets
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from bench import parts
from bench.chaos.faults import NODES, SCHEDULERS, WIRES
from bench.chaos.proxy import PART_VARIABLE
from nodekit.process.process_tree import MARK_VARIABLE
from runtime.program import Program, dying_with_us
from stack.part import Part, PartFailed, PartSpec, python_part
from stack.private_files import new_callback_secret
from stack.probes import http_probe, rpc_probe, scheduler_probe

KINDS = {"forge": "forge", "forge-2": "forge", "anvil": "anvil"}
INSTALLATION_VARIABLE = "CHAOS_INSTALLATION"
"""In the environment of every process of the installation: what is left of it can be found."""
_DOWN_SECONDS = 0.3
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


class Installation:
    """One installation; `async with installation.running()` has it up."""

    def __init__(self, folder: Path, allow: list[str]) -> None:
        self.folder = folder
        self.secret = new_callback_secret()
        self._allow = allow
        self._token = secrets.token_hex(16)
        self._addresses = {
            name: quiet_address() for name in ("redis", "filestore", "gateway", *SCHEDULERS, *NODES)
        }
        self._crossings = {name: quiet_address() for name in NODES}
        self.parts: dict[str, Part] = {}
        self._down: dict[str, float] = {}
        self._may_run = asyncio.Event()
        self._may_run.set()
        self._wires: Program | None = None
        self._used: set[str] = set()

    @property
    def url(self) -> str:
        """Address of the REST surface."""
        return f"http://{self._addresses['gateway']}"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Have everything up for the time of the block."""
        (self.folder / "logs").mkdir(parents=True)
        stages = [
            [parts.redis_part(self.folder, self._addresses["redis"], self._token), self._filestore()],
            [self._node(name) for name in NODES],
            [self._scheduler(name) for name in SCHEDULERS],
            [self._gateway()],
        ]
        async with self._proxy(), AsyncExitStack() as undo:
            for stage in stages:
                started = {spec.name: Part(spec, self.folder / "logs" / f"{spec.name}.log") for spec in stage}
                undo.push_async_callback(_stop_all, list(started.values()))
                await asyncio.gather(*(part.start() for part in started.values()))
                self.parts |= started
            await self._all_wires_are_used()
            keepers = [asyncio.create_task(self._keep(part)) for part in self.parts.values()]
            try:
                yield
            finally:
                for keeper in keepers:
                    keeper.cancel()
                await asyncio.gather(*keepers, return_exceptions=True)

    async def _keep(self, part: Part) -> None:
        while True:
            await part.wait()
            await asyncio.sleep(self._down.pop(part.spec.name, _DOWN_SECONDS))
            await self._may_run.wait()
            with contextlib.suppress(PartFailed):  # it is tried again
                await part.start()

    def signal(self, name: str, number: signal.Signals, down_seconds: float = _DOWN_SECONDS) -> int | None:
        """Signal a part; gives its pid, None when it does not run. One that dies of it stays away for so long."""
        pid = self.parts[name].pid
        if pid is not None:
            self._down[name] = down_seconds
            os.kill(pid, number)
        return pid

    async def restart(self, *, at_once: bool) -> None:
        """Tell every part to stop, all at once or in the order of trust, and have all come back; gives when they serve again."""
        self._may_run.clear()
        tiers = [["gateway"], [*NODES], [*SCHEDULERS], ["filestore"], ["redis"]]
        for names in [[name for tier in tiers for name in tier]] if at_once else tiers:
            await asyncio.gather(*(self.parts[name].stop() for name in names))
        self._may_run.set()
        async with asyncio.timeout(_BACK_SECONDS):
            while not all([part.pid and await part.spec.probe() for part in self.parts.values()]):
                await asyncio.sleep(0.05)

    def holds(self, pid: int) -> bool:
        """Whether a process was started, by whomever, in this installation."""
        return f"{INSTALLATION_VARIABLE}={self.folder}\0".encode() in _environment_of(pid)

    def processes(self) -> set[int]:
        """Find every living process of this installation, reapers and what tasks have started included."""
        pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal())
        return {pid for pid in pids if self.holds(pid)}

    def trees(self) -> set[int]:
        """Find what attempts have started; warm workers, which wait for the next one, are left out."""
        mark = f"\0{MARK_VARIABLE}=".encode()
        marks = {pid: (b"\0" + _environment_of(pid)).partition(mark)[2] for pid in self.processes()}
        return {pid for pid, value in marks.items() if value and b"/worker-" not in value.split(b"\0")[0]}

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


async def _stop_all(parts: list[Part]) -> None:
    await asyncio.gather(*(part.stop() for part in parts))


def _environment_of(pid: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/environ").read_bytes()
    return b""
