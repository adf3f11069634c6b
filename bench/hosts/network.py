"""Hosts: network namespaces with an address each, on one bridge; what they may reach is nftables', and so is a cut cable.

To be used inside namespaces of the caller's own (`bench.hosts.sandbox`): nothing here is taken away again.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field

_PREFIX = "10.77.0"
CLIENTS = f"{_PREFIX}.1"
"""The address of whoever runs the story: its clients, and receivers of callbacks."""

NUMBERS = {
    "gateway": 10, "scheduler": 11, "scheduler-2": 12, "node-a": 21, "node-b": 22, "node-c": 23,
    "redis-a": 31, "redis-b": 32, "redis-c": 33, "filestore": 40, "dns": 50,
}  # fmt: skip
HOSTS = {name: f"{_PREFIX}.{number}" for name, number in NUMBERS.items()}

_CUT = """\
table inet cut {
    chain incoming {
        type filter hook input priority -10; policy drop;
        iif lo accept
    }
    chain outgoing {
        type filter hook output priority -10; policy drop;
        oif lo accept
    }
}
"""

_ARROWS = """\
table inet arrows {{
    chain incoming {{
        type filter hook input priority 0; policy drop;
        iif lo accept
        ct state established,related accept
        {rules}
    }}
}}
"""


@dataclass(frozen=True)
class Arrow:
    """Who may open connections to what."""

    sources: tuple[str, ...]
    host: str
    port: int
    protocol: str = "tcp"


def run(*argv: str, given: str = "") -> None:
    """Run a program. Raises CalledProcessError with what it said."""
    done = subprocess.run(argv, input=given, text=True, capture_output=True, timeout=20, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: {done.stderr.strip()}")


def within(host: str) -> tuple[str, ...]:
    """Return what a program is started with so that it runs on a host, by name or address; ours: nothing."""
    names = {address: name for name, address in HOSTS.items()}
    name = names.get(host, host)
    return ("nsenter", f"--net=/run/netns/{name}", "--") if name in HOSTS else ()


@dataclass
class Network:
    """All hosts."""

    arrows: list[Arrow] = field(default_factory=list)

    def make(self) -> None:
        """Make bridge and hosts, all of which reach each other until `apply`."""
        run("ip", "link", "set", "lo", "up")
        run("ip", "link", "add", "lan", "type", "bridge")
        run("ip", "addr", "add", f"{CLIENTS}/24", "dev", "lan")
        run("ip", "link", "set", "lan", "up")
        for name, address in HOSTS.items():
            run("ip", "netns", "add", name)
            run("ip", "link", "add", _cable(name), "type", "veth", "peer", "name", "eth0", "netns", name)
            run("ip", "link", "set", _cable(name), "master", "lan", "up")
            run("ip", "-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
            run("ip", "-n", name, "link", "set", "eth0", "up")
            run("ip", "-n", name, "link", "set", "lo", "up")

    def apply(self) -> None:
        """From now on each host takes only what an arrow names."""
        for name in HOSTS:
            rules = "\n        ".join(
                f"ip saddr {{ {', '.join(arrow.sources)} }} {arrow.protocol} dport {arrow.port} accept"
                for arrow in self.arrows
                if arrow.host == name
            )
            run(*within(name), "nft", "-f", "-", given=_ARROWS.format(rules=rules))

    def cut(self, host: str) -> None:
        """Lose every packet of a host; nothing is closed."""
        run(*within(host), "nft", "-f", "-", given=_CUT)

    def heal(self, host: str) -> None:
        """Let its packets through again."""
        run(*within(host), "nft", "delete", "table", "inet", "cut")

    def unplug(self, host: str) -> None:
        """Take the link down at the switch."""
        run("ip", "link", "set", _cable(host), "down")

    def plug(self, host: str) -> None:
        """Take it up again."""
        run("ip", "link", "set", _cable(host), "up")


def _cable(host: str) -> str:
    return f"to-{NUMBERS[host]}"
