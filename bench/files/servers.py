"""The gateway and the filestore as processes of their own, and what they cost."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.files.ways import Gateway

ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass
class Server:
    """A process of ours, and what it costs."""

    name: str
    pid: int
    idle_mib: float = 0.0

    def memory_mib(self, field_name: str) -> float:
        """Return VmRSS (now) or VmHWM (peak)."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(field_name + ":"):
                return int(line.split()[1]) / 1024
        raise RuntimeError(f"{self.name} has ended")

    def cpu_seconds(self) -> float:
        """Return the processor time used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def settle(self) -> None:
        """Take the present size as the idle one."""
        self.idle_mib = self.memory_mib("VmRSS")

    def growth_mib(self) -> float:
        """Return the peak over the idle size."""
        return max(0.0, self.memory_mib("VmHWM") - self.idle_mib)


def free_port() -> int:
    """Return a loopback port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def stack(folder: Path, extra: dict[str, str]) -> Iterator[tuple[Gateway, list[Server]]]:
    """Run filestore and gateway for the time of a block."""
    files, rest = free_port(), free_port()
    base = {name: value for name, value in os.environ.items() if not name.startswith(("YIVIDEO_", "MINIO_"))}
    base |= {"YIVIDEO_RUNTIME__LOG_LEVEL": "warning", "YIVIDEO_RUNTIME__METRICS_LISTEN": "", **extra}
    settings = {
        "filestore": {
            "YIVIDEO_RUNTIME__LISTEN": f"127.0.0.1:{files}",
            "YIVIDEO_FILESTORE__ROOT": str(folder / "files"),
        },
        "gateway": {
            "YIVIDEO_GATEWAY__LISTEN": f"127.0.0.1:{rest}",
            "YIVIDEO_GATEWAY__FILESTORE_ADDRESS": f"127.0.0.1:{files}",
        },
    }
    running: list[subprocess.Popen[bytes]] = []
    try:
        for name, own in settings.items():
            running.append(subprocess.Popen([sys.executable, "-m", name], cwd=ROOT, env=base | own))
        gateway = Gateway(f"127.0.0.1:{rest}")
        deadline = time.monotonic() + 60
        while not gateway.ready():
            if time.monotonic() > deadline or any(each.poll() is not None for each in running):
                raise RuntimeError("the stack did not start")
            time.sleep(0.1)
        yield gateway, [Server(name, each.pid) for name, each in zip(settings, running, strict=True)]
    finally:
        for each in running:
            each.terminate()
        for each in running:
            each.wait(30)
