"""Networks as Compose makes them, of the kernel's parts: a bridge for each, a namespace for each container, names in hosts files.

Nothing leads out of them, and nothing of them is on the machine's own network: the bridges lie in a namespace of their own.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager


class Networks:
    """The networks of one trial; `networks()` makes and removes them."""

    def __init__(self, mark: str, names: Sequence[str]) -> None:
        self._switch = f"{mark}-switch"
        self._mark = mark
        self._numbers = {name: number for number, name in enumerate(names, 1)}
        self._hosts: dict[str, tuple[int, tuple[str, ...]]] = {}
        self._made: list[str] = []

    def open(self) -> None:
        """Make the bridges."""
        self._add(self._switch)
        for number in self._numbers.values():
            ip("-n", self._switch, "link", "add", f"br{number}", "type", "bridge")
            ip("-n", self._switch, "link", "set", f"br{number}", "up")

    def join(self, host: str, names: Iterable[str]) -> None:
        """Give a host a namespace with an interface in each of the networks."""
        space, own = self._space(host), len(self._hosts) + 1
        self._add(space)
        self._hosts[host] = own, tuple(names)
        for name in self._hosts[host][1]:
            number = self._numbers[name]
            port = f"p{own}n{number}"
            ip(
                "-n",
                space,
                "link",
                "add",
                f"eth{number}",
                "type",
                "veth",
                "peer",
                "name",
                port,
                "netns",
                self._switch,
            )
            ip("-n", self._switch, "link", "set", port, "master", f"br{number}", "up")
            ip("-n", space, "address", "add", f"{self._address(host, name)}/24", "dev", f"eth{number}")
            ip("-n", space, "link", "set", f"eth{number}", "up")

    def path(self, host: str) -> str:
        """A host's network namespace."""
        return f"/run/netns/{self._space(host)}"

    def hosts_file(self, host: str) -> str:
        """What a host finds its neighbours by: those that share a network with it."""
        lines = ["127.0.0.1 localhost"]
        mine = self._hosts[host][1]
        for other, (_, theirs) in self._hosts.items():
            shared = [name for name in mine if name in theirs]
            if shared:
                lines.append(f"{self._address(other, shared[0])} {other}")
        return "\n".join(lines) + "\n"

    def address(self, host: str, network: str = "") -> str:
        """A host's address in a network; in the first of its own by default."""
        return self._address(host, network or self._hosts[host][1][0])

    def close(self) -> None:
        """Remove all of it."""
        for space in reversed(self._made):
            subprocess.run(["ip", "netns", "delete", space], check=False, timeout=30)

    def _space(self, host: str) -> str:
        return f"{self._mark}-{host}"

    def _address(self, host: str, network: str) -> str:
        return f"10.214.{self._numbers[network]}.{self._hosts[host][0]}"

    def _add(self, space: str) -> None:
        ip("netns", "add", space)
        self._made.append(space)
        ip("-n", space, "link", "set", "lo", "up")


def ip(*arguments: str) -> None:
    """Run `ip`."""
    subprocess.run(["ip", *arguments], check=True, timeout=30)


@contextmanager
def networks(hosts: Mapping[str, Sequence[str]]) -> Iterator[Networks]:
    """Make the networks that hosts are to be in, and the hosts in them."""
    names = list(dict.fromkeys(name for wanted in hosts.values() for name in wanted))
    made = Networks(f"yvi{os.getpid()}", names)
    try:
        made.open()
        for host, wanted in hosts.items():
            made.join(host, wanted)
        yield made
    finally:
        made.close()
