"""The wires between schedulers and nodes: a TCP proxy, in a process of its own, that can lose packets and reset connections.

`python -m bench.chaos.proxy '{"<node>": ["<listen>", "<upstream>"], …}'`. All schedulers reach a node by one address, as they do
anywhere; whose connection one is, is read from the kernel's tables, so that each pair has a wire of its own, and said on standard
output. Commands come as JSON lines on standard input: `["hole", "<scheduler>/<node>"]` packets vanish, nothing is closed;
`["pass", …]` they flow again, first what was held; `["sever", …]` every open connection is reset on both sides.

It must not hide what a kernel tells: while nobody listens upstream, nobody listens here, so that connecting is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import sys
from pathlib import Path

PART_VARIABLE = "CHAOS_PART"
"""In a process's environment: which part of the installation it is."""
_CHUNK_BYTES = 64 * 1024
_LOOK_SECONDS = 0.03


def owner(port: int) -> str:
    """Return which part holds the loopback connection from a port; empty when none does any more."""
    # gRPC connects to IPv4 by sockets of either family.
    wanted = {f"{host}:{port:04X}" for host in ("0100007F", "0000000000000000FFFF00000100007F")}
    lines = Path("/proc/net/tcp").read_text().splitlines() + Path("/proc/net/tcp6").read_text().splitlines()
    links = {f"socket:[{row[9]}]" for row in map(str.split, lines) if row[1] in wanted}
    for process in Path("/proc").iterdir():
        if process.name.isdecimal() and (part := _part(process)) and _holds(process, links):
            return part
    return ""


def _part(process: Path) -> str:
    with contextlib.suppress(OSError):
        for variable in (process / "environ").read_bytes().decode(errors="replace").split("\0"):
            if variable.startswith(f"{PART_VARIABLE}="):
                return variable.partition("=")[2]
    return ""


def _holds(process: Path, links: set[str]) -> bool:
    with contextlib.suppress(OSError):
        for entry in (process / "fd").iterdir():
            with contextlib.suppress(OSError):  # closed meanwhile
                if str(entry.readlink()) in links:
                    return True
    return False


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with a TCP reset."""
    found = writer.get_extra_info("socket")
    with contextlib.suppress(OSError, AttributeError):
        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class Wire:
    """Between one scheduler and one node."""

    def __init__(self) -> None:
        self.flows = asyncio.Event()
        self.flows.set()
        self.writers: set[asyncio.StreamWriter] = set()

    def hole(self) -> None:
        """Let packets vanish from now on."""
        self.flows.clear()

    def allow(self) -> None:
        """Let packets flow again."""
        self.flows.set()

    def sever(self) -> None:
        """Reset every connection."""
        for writer in list(self.writers):
            _reset(writer)

    async def carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: tuple[str, int]
    ) -> bool:
        """Carry one connection to its end; False when nobody was there upstream."""
        await self.flows.wait()
        try:
            there, back = await asyncio.open_connection(*upstream)
        except OSError:
            _reset(writer)
            return False
        self.writers |= {writer, back}
        whole = await asyncio.gather(self._pump(reader, back), self._pump(there, writer))
        self.writers -= {writer, back}
        for end in (writer, back):
            if all(whole):
                end.close()
            else:
                _reset(end)
        return True

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Carry one direction to its end; False when it was torn, which tears the other one too."""
        try:
            while True:
                await self.flows.wait()
                data = await reader.read(_CHUNK_BYTES)
                await self.flows.wait()
                if not data:
                    writer.write_eof()
                    return True
                writer.write(data)
                await writer.drain()
        except (OSError, RuntimeError):
            _reset(writer)
            return False


class Crossing:
    """Where the wires of one node meet: the address that schedulers know."""

    def __init__(self, node: str, listen: str, upstream: str, wires: dict[str, Wire]) -> None:
        self._node = node
        self._listen = _split(listen)
        self._upstream = _split(upstream)
        self._wires = wires
        self._gone = asyncio.Event()

    async def run(self) -> None:
        """Listen while somebody listens upstream, for ever."""
        while True:
            while not await self._is_served():
                await asyncio.sleep(_LOOK_SECONDS)
            self._gone.clear()
            server = await asyncio.start_server(self._accept, *self._listen)
            await self._gone.wait()
            server.close()

    async def _is_served(self) -> bool:
        try:
            _, writer = await asyncio.open_connection(*self._upstream)
        except OSError:
            return False
        writer.close()
        return True

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        scheduler = owner(writer.get_extra_info("peername")[1])
        if not scheduler:  # it is gone; should it not be, it comes again, and no wire leads past the nemesis
            _reset(writer)
            return
        wire = self._wires.setdefault(f"{scheduler}/{self._node}", Wire())
        print(f"{scheduler}/{self._node}", flush=True)
        if not await wire.carry(reader, writer, self._upstream) or not await self._is_served():
            self._gone.set()


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)


async def main(table: dict[str, list[str]]) -> None:
    """Carry until standard input closes."""
    wires: dict[str, Wire] = {}
    commands = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    running = [
        asyncio.create_task(Crossing(node, listen, upstream, wires).run())
        for node, (listen, upstream) in table.items()
    ]
    while line := await commands.readline():
        word, name = json.loads(line)
        {"hole": Wire.hole, "pass": Wire.allow, "sever": Wire.sever}[word](wires.setdefault(name, Wire()))
    for task in running:
        task.cancel()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
