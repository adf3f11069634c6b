"""A name server of its own for the hosts: dnsmasq, whose names gain and lose addresses while it runs."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from bench.hosts.network import HOSTS, run, within
from bench.servers import start

DOMAIN = "hosts.test"


class Names:
    """Names of nodes, each with the addresses of its replicas."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._hosts = folder / "hosts"
        self._addresses: dict[str, list[str]] = {}
        self._server: subprocess.Popen[bytes] | None = None

    @staticmethod
    def name(kind: str) -> str:
        """Return the name that the replicas of a node share."""
        return f"{kind}.{DOMAIN}"

    def run(self) -> None:
        """Start the server, and have every program here ask it: in our namespace of mounts alone."""
        self._write()
        self._server = start(
            [
                *within("dns"), "dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts", f"--addn-hosts={self._hosts}",
                f"--listen-address={HOSTS['dns']}", "--bind-interfaces", "--local-ttl=0", "--user=root", "--pid-file=",
                f"--local=/{DOMAIN}/",
            ],
            {},
            self._folder / "dnsmasq.log",
        )  # fmt: skip
        resolver = self._folder / "resolv.conf"
        resolver.write_text(f"nameserver {HOSTS['dns']}\noptions timeout:1 attempts:2\n")
        run("mount", "--bind", str(resolver), os.path.realpath("/etc/resolv.conf"))

    def add(self, kind: str, address: str) -> None:
        """Let a name have one more address."""
        self._addresses.setdefault(kind, []).append(address)
        self._tell()

    def remove(self, kind: str, address: str) -> None:
        """Let it have one less."""
        self._addresses[kind].remove(address)
        self._tell()

    def _tell(self) -> None:
        self._write()
        if self._server is not None:
            self._server.send_signal(signal.SIGHUP)

    def _write(self) -> None:
        lines = [
            f"{address} {self.name(kind)}\n" for kind, all_of in self._addresses.items() for address in all_of
        ]
        self._folder.mkdir(parents=True, exist_ok=True)
        self._hosts.write_text("".join(lines))

    def stop(self) -> None:
        """End the server."""
        if self._server is not None:
            self._server.kill()
            self._server.wait()
