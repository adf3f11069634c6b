"""Orphan requests: what a node leaves open when it dies, at the lock service, and the program that gives them back.

The reaper keeps it. It need not understand any of it, so that it stays small: the terms and the requests are lines of text that the
node has said, and that the program (`nodekit/gpu/orphan_release.py`) reads on its standard input.
This file imports only the standard library's light modules, because the reaper (a process of its own) runs it.
"""

from __future__ import annotations

import os
import select
import signal
import sys

LONGEST_SECONDS = 12.0
"""How long the program may take; it gives up by itself before."""

_NODEKIT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120 - without pathlib
_PROGRAM = os.path.join(_NODEKIT, "gpu", "orphan_release.py")  # noqa: PTH118


class OrphanRequests:
    """The terms, and the requests that have not ended."""

    def __init__(self) -> None:
        self._terms = ""
        self._requests: dict[str, str] = {}

    def take(self, verb: str, argument: str) -> None:
        """Note one line of the node: `terms <terms>`, `open <token> <request>`, `closed <request>`."""
        if verb == "terms":
            self._terms = argument
        elif verb == "open":
            token, _, request = argument.partition(" ")
            self._requests[request] = token
        elif verb == "closed":
            self._requests.pop(argument, None)

    @property
    def due(self) -> bool:
        """Whether there is something to give back, and somebody to give it to."""
        return bool(self._terms and self._requests)

    def start(self) -> int:
        """Start the program; returns its pid. Raises OSError."""
        requests = [f"{token} {request}" for request, token in self._requests.items()]
        # In memory: the terms hold the internal token, and a pipe would have to be filled while the program reads.
        paper = os.memfd_create("orphan-release")
        with open(paper, "wb") as file:  # noqa: PTH123
            file.write("\n".join([self._terms, *requests]).encode())
            file.flush()
            file.seek(0)
            actions = [(os.POSIX_SPAWN_DUP2, paper, 0)]
            return os.posix_spawn(
                sys.executable, [sys.executable, "-P", _PROGRAM], os.environ, file_actions=actions
            )


def see_through(pid: int) -> None:
    """Wait for the program, and kill it when it takes too long."""
    handle = os.pidfd_open(pid)
    try:
        if not select.select([handle], [], [], LONGEST_SECONDS)[0]:
            signal.pidfd_send_signal(handle, signal.SIGKILL)
    finally:
        os.close(handle)
    os.waitpid(pid, 0)
