"""The ports of a stack's parts, kept over restarts: a node that is back at its address is known at once for what it is."""

from __future__ import annotations

import contextlib
import json
import random
import socket
from pathlib import Path

from runtime.addresses import join_host_port

_QUIET_PORTS = range(20_000, 32_000)
"""Below those that the kernel gives to outgoing connections, which may hold a port when its part comes back."""
_TRIES = 200


class PortTaken(Exception):
    """A port that was asked for belongs to another process; the message names it."""


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen there now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        # As servers do: connections of an earlier one that are still going down do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            probe.bind((host, port))
            return True
    return False


def free_address(host: str = "127.0.0.1") -> str:
    """Find a port that is free now, for once; gives `host:port`."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return join_host_port(host, probe.getsockname()[1])


class PortBook:
    """Which port each name has had in this folder; `save` keeps them for the next start."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept = _read(path)
        self._given: dict[str, int] = {}

    def port(self, name: str, preferred: int = 0, host: str = "127.0.0.1") -> int:
        """Return the port that a name had last, else the preferred one, else any; whichever is free."""
        for port in (self._kept.get(name, 0), preferred):
            if port and port not in self._given.values() and is_free(port, host):
                break
        else:
            port = self._any(host)
        self._given[name] = port
        return port

    def fixed(self, name: str, port: int, host: str = "127.0.0.1") -> int:
        """Take exactly this port. Raises PortTaken."""
        if port in self._given.values() or not is_free(port, host):
            raise PortTaken(f"port {port} of {host}, set for {name}, is taken")
        self._given[name] = port
        return port

    def address(self, name: str) -> str:
        """Return `127.0.0.1:port` for a name."""
        return join_host_port("127.0.0.1", self.port(name))

    def _any(self, host: str) -> int:
        taken = {*self._given.values(), *self._kept.values()}
        for _ in range(_TRIES):
            port = random.choice(_QUIET_PORTS)  # noqa: S311 - not a secret
            if port not in taken and is_free(port, host):
                return port
        raise PortTaken(f"no free port was found among {_QUIET_PORTS.start} to {_QUIET_PORTS.stop - 1}")

    def save(self) -> None:
        """Write the book; ports of parts that are not started this time are remembered too."""
        new = self._path.with_suffix(".new")
        new.write_text(json.dumps(self._kept | self._given, indent=1))
        new.replace(self._path)


def _read(path: Path) -> dict[str, int]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return {str(name): port for name, port in found.items() if isinstance(port, int)}
