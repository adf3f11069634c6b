"""Which sockets which processes have: listening ones, and connections as they come and go."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_LISTENING, _CONNECTED, _CONNECTING = "0A", "01", "02"
_TURN_SECONDS = 0.02

Place = tuple[str, int]
"""Address and port."""


@dataclass(frozen=True)
class Socket:
    """One line of /proc/net/tcp."""

    state: str
    local: Place
    remote: Place
    inode: str


def _place(text: str) -> Place:
    address, _, port = text.partition(":")
    words = [bytes.fromhex(address[at : at + 8])[::-1] for at in range(0, len(address), 8)]
    found = ipaddress.ip_address(b"".join(words))
    mapped = getattr(found, "ipv4_mapped", None)
    return str(mapped or found), int(port, 16)


def all_sockets() -> Iterator[Socket]:
    """Yield the machine's TCP sockets."""
    for name in ("tcp", "tcp6"):
        for line in Path("/proc/net", name).read_text().splitlines()[1:]:
            words = line.split()
            if words[3] in (_LISTENING, _CONNECTED, _CONNECTING):
                yield Socket(words[3], _place(words[1]), _place(words[2]), words[9])


def _parents() -> dict[int, int]:
    found = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                stat = Path(entry.path, "stat").read_text()
                found[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    return found


def _inodes(pid: int) -> Iterator[str]:
    with contextlib.suppress(OSError):
        for entry in os.scandir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                target = str(Path(entry.path).readlink())
                if target.startswith("socket:["):
                    yield target[8:-1]


def tree_memory_mib(root: int) -> float:
    """Return the resident memory of a process and all that it started; what they share counts for each."""
    parents, total = _parents(), 0
    for pid in parents:
        at = pid
        while at and at != root:
            at = parents.get(at, 0)
        if at:
            with contextlib.suppress(OSError):
                total += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return total * os.sysconf("SC_PAGE_SIZE") / 2**20


def owners(roots: Mapping[int, str]) -> dict[str, str]:
    """Return the name of the process tree that has each socket, by inode; `roots` are the trees' first processes."""
    parents = _parents()
    found: dict[str, str] = {}
    for pid in parents:
        at = pid
        while at and at not in roots:
            at = parents.get(at, 0)
        if at:
            found |= dict.fromkeys(_inodes(pid), roots[at])
    return found


def listening(roots: Mapping[int, str]) -> dict[str, set[Place]]:
    """Return where each tree listens."""
    known = owners(roots)
    found: dict[str, set[Place]] = {name: set() for name in roots.values()}
    for socket in all_sockets():
        if socket.state == _LISTENING and socket.inode in known:
            found[known[socket.inode]].add(socket.local)
    return found


class ConnectionWatch:
    """Who was seen to be connected to which of some places, from entering the block to leaving it."""

    def __init__(self, roots: Mapping[int, str], targets: Mapping[Place, str]) -> None:
        """`targets` are names of the places that are looked for."""
        self._roots = roots
        self._targets = targets
        self._known: dict[str, str] = {}
        self._stop = threading.Event()
        self._turn = threading.Lock()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.seen: set[tuple[str, str, int]] = set()
        """From whom, to whom, port."""

    def __enter__(self) -> ConnectionWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def look(self) -> set[tuple[str, str, int]]:
        """Look once more, and give all that was seen."""
        with self._turn:
            out = [one for one in all_sockets() if one.state != _LISTENING and one.remote in self._targets]
            if any(one.inode not in self._known for one in out):
                self._known |= owners(self._roots)
            for one in out:
                # What is not of these processes is the check's own: not asked for again.
                name = self._known.setdefault(one.inode, "")
                if name:
                    self.seen.add((name, self._targets[one.remote], one.remote[1]))
        return self.seen

    def _watch(self) -> None:
        while not self._stop.is_set():
            began = time.monotonic()
            self.look()
            self._stop.wait(max(_TURN_SECONDS, 2 * (time.monotonic() - began)))
