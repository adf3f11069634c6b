"""The gateway and the filestore as processes of their own, and what they cost."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench import processes
from bench.files.ways import Gateway
from bench.servers import QUIET, connects, free_port, program


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
        return processes.cpu_seconds([self.pid])

    def settle(self) -> None:
        """Take the present size as the idle one."""
        self.idle_mib = self.memory_mib("VmRSS")

    def growth_mib(self) -> float:
        """Return the peak over the idle size."""
        return max(0.0, self.memory_mib("VmHWM") - self.idle_mib)


@contextlib.contextmanager
def stack(folder: Path, extra: dict[str, str]) -> Iterator[tuple[Gateway, list[Server]]]:
    """Run filestore and gateway for the time of a block."""
    files, rest = free_port(), free_port()
    filestore = {
        **QUIET,
        "YIVIDEO_RUNTIME__LISTEN": f"127.0.0.1:{files}",
        "YIVIDEO_FILESTORE__ROOT": str(folder / "files"),
        **extra,
    }
    own = {
        **QUIET,
        "YIVIDEO_GATEWAY__LISTEN": f"127.0.0.1:{rest}",
        "YIVIDEO_GATEWAY__FILESTORE_ADDRESS": f"127.0.0.1:{files}",
        **extra,
    }
    gateway = Gateway(f"127.0.0.1:{rest}")
    with (
        program(
            [sys.executable, "-m", "filestore"], filestore, ready=lambda: connects(f"127.0.0.1:{files}")
        ) as store,
        program([sys.executable, "-m", "gateway"], own, ready=gateway.ready) as front,
    ):
        yield gateway, [Server("filestore", store.pid), Server("gateway", front.pid)]
