"""Files through the gateway against the same client straight at the backend: `make bench-files`.

One client carries a 1 GiB film from a file to the store and back to another file, hashing every byte on the way. It does so
through `/v1/files` (gateway, filestore, backend, each its own process) and straight at the backend: into and out of a
folder of the same disk, with the sync that the store promises, and to radosgw with the `minio` library. Both ways take
turns in one run; a ratio is the median over the rounds. Before a download from the disk the page cache is told to forget
the film both ways, because the store keeps no film there; how fast the client alone copies out of the page cache is shown
too. Memory is the growth of the two processes' peak over their size after a small warm-up.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from minio import Minio

from runtime.heap import keep_large_blocks
from tests.s3 import radosgw

MIB = 1024 * 1024
CHUNK_BYTES = MIB
S3_PART_BYTES = 10 * MIB
ROOT = Path(__file__).resolve().parent.parent
BOUNDARY = "bench-boundary-7f3a"
BUCKET = "yivideo"


class Hashed:
    """A file that is read or written while its SHA-256 is taken."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """Read and hash."""
        chunk = self._file.read(size)
        self._hash.update(chunk)
        return chunk

    def write(self, chunk: bytes | memoryview) -> None:
        """Hash and write."""
        self._hash.update(chunk)
        self._file.write(chunk)

    @property
    def sha256(self) -> str:
        """Hex of all so far."""
        return self._hash.hexdigest()


class Way(Protocol):
    """One way of carrying the film; each call ends when the bytes are safe."""

    def up(self, source: Hashed, size: int, path: str) -> None:
        """Store what the source has."""

    def down(self, target: Hashed, path: str) -> None:
        """Fetch it into the target."""

    def remove(self, path: str) -> None:
        """Forget it."""


class Folder:
    """Straight to a folder: written, synced, renamed; read."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def up(self, source: Hashed, size: int, path: str) -> None:
        """Write aside, sync, put into place, as any careful program does."""
        aside = self._root / "aside"
        with aside.open("wb", buffering=0) as file:
            while chunk := source.read(CHUNK_BYTES):
                file.write(chunk)
            os.fsync(file.fileno())
        aside.rename(self._root / path)

    def down(self, target: Hashed, path: str) -> None:
        """Read."""
        with (self._root / path).open("rb", buffering=0) as file:
            while chunk := file.read(CHUNK_BYTES):
                target.write(chunk)

    def remove(self, path: str) -> None:
        """Unlink."""
        (self._root / path).unlink()


class Direct:
    """Straight to S3 with the `minio` library and its own parallel multipart upload."""

    def __init__(self, server: radosgw.S3Server) -> None:
        self._client = Minio(
            f"{server.host}:{server.port}",
            server.access_key,
            server.secret_key,
            secure=False,
            region="us-east-1",
        )

    def up(self, source: Hashed, size: int, path: str) -> None:
        """Put the object."""
        reader: Any = source
        self._client.put_object(BUCKET, path, reader, size, part_size=S3_PART_BYTES)

    def down(self, target: Hashed, path: str) -> None:
        """Get the object."""
        answer = self._client.get_object(BUCKET, path)
        try:
            for chunk in answer.stream(CHUNK_BYTES):
                target.write(chunk)
        finally:
            answer.close()
            answer.release_conn()

    def remove(self, path: str) -> None:
        """Delete the object."""
        self._client.remove_object(BUCKET, path)


class Gateway:
    """Through `/v1/files`: a multipart form up, a plain GET down."""

    def __init__(self, address: str) -> None:
        self._address = address

    @contextlib.contextmanager
    def _connection(self) -> Iterator[http.client.HTTPConnection]:
        connection = http.client.HTTPConnection(self._address, timeout=300)
        try:
            yield connection
        finally:
            connection.close()

    def up(self, source: Hashed, size: int, path: str) -> None:
        """Post the form that `curl -F` posts, and check the checksum in the answer."""
        head = (
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="film.mp4"\r\n'
            "Content-Type: video/mp4\r\n\r\n"
        ).encode()
        tail = f"\r\n--{BOUNDARY}--\r\n".encode()
        with self._connection() as connection:
            connection.putrequest("POST", f"/v1/files/upload?file_path={path}")
            connection.putheader("Content-Type", f"multipart/form-data; boundary={BOUNDARY}")
            connection.putheader("Content-Length", str(len(head) + size + len(tail)))
            connection.endheaders(head)
            while chunk := source.read(CHUNK_BYTES):
                connection.send(chunk)
            connection.send(tail)
            answer = connection.getresponse()
            body = answer.read()
        stored = json.loads(body).get("sha256")
        if answer.status not in (200, 201) or stored != source.sha256:
            raise RuntimeError(f"upload answered {answer.status}: {body[:500]!r}")

    def down(self, target: Hashed, path: str) -> None:
        """Get the file."""
        buffer = memoryview(bytearray(CHUNK_BYTES))
        with self._connection() as connection:
            connection.request("GET", f"/v1/files/download/{path}")
            answer = connection.getresponse()
            if answer.status != http.HTTPStatus.OK:
                raise RuntimeError(f"download answered {answer.status}: {answer.read()[:500]!r}")
            while count := answer.readinto(buffer):
                target.write(buffer[:count])

    def remove(self, path: str) -> None:
        """Delete the file."""
        with self._connection() as connection:
            connection.request("DELETE", f"/v1/files/{path}")
            if connection.getresponse().status != http.HTTPStatus.OK:
                raise RuntimeError("delete was refused")

    def ready(self) -> bool:
        """Whether gateway and filestore answer."""
        with self._connection() as connection, contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/v1/files/list?recursive=true")
            return connection.getresponse().status == http.HTTPStatus.OK
        return False


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


@dataclass
class Film:
    """What is carried."""

    path: Path
    size: int
    sha256: str
    target: Path

    def up(self, way: Way, path: str) -> float:
        """Carry it to the store; returns MiB a second."""
        with self.path.open("rb", buffering=0) as file:
            source = Hashed(file)
            begun = time.perf_counter()
            way.up(source, self.size, path)
            seconds = time.perf_counter() - begun
        if source.sha256 != self.sha256:
            raise RuntimeError("the source changed")
        return self.size / MIB / seconds

    def down(self, way: Way, path: str) -> float:
        """Carry it back; returns MiB a second."""
        # Overwritten in place: fresh pages of the page cache cost more than all else and would hide the difference.
        with self.target.open("r+b", buffering=0) as file:
            target = Hashed(file)
            begun = time.perf_counter()
            way.down(target, path)
            seconds = time.perf_counter() - begun
        if target.sha256 != self.sha256:
            raise RuntimeError("other bytes came back")
        return self.size / MIB / seconds


def evict(folder: Path) -> None:
    """Tell the page cache to forget every file of a folder."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def make_film(folder: Path, size: int) -> Film:
    """Write random bytes, and the file that downloads overwrite."""
    block = os.urandom(16 * MIB)
    digest = hashlib.sha256()
    for name in ("source", "target"):
        with (folder / name).open("wb") as file:
            for start in range(0, size, len(block)):
                part = block[: size - start]
                file.write(part)
                if name == "source":
                    digest.update(part)
    return Film(folder / "source", size, digest.hexdigest(), folder / "target")


@dataclass
class Rates:
    """MiB a second of every round."""

    direct_up: list[float] = field(default_factory=list)
    ours_up: list[float] = field(default_factory=list)
    direct_down: list[float] = field(default_factory=list)
    ours_down: list[float] = field(default_factory=list)
    cached_down: list[float] = field(default_factory=list)
    """Straight from the page cache; shown, not compared."""

    def ratio(self, direction: str) -> float:
        """Return the median of ours over direct."""
        pairs = zip(getattr(self, f"ours_{direction}"), getattr(self, f"direct_{direction}"), strict=True)
        return statistics.median(ours / direct for ours, direct in pairs)

    def print(self, name: str) -> None:
        """Print a line for each direction."""
        for direction in ("up", "down"):
            direct, ours = getattr(self, f"direct_{direction}"), getattr(self, f"ours_{direction}")
            each = " ".join(f"{value:5.0f}" for value in ours)
            print(
                f"{name:5} {direction:5} {statistics.median(direct):8.0f} {statistics.median(ours):8.0f}"
                f" {self.ratio(direction):7.2f}   [{each} ]"
            )


def compare(film: Film, direct: Way, gateway: Gateway, rounds: int, cold: list[Path]) -> Rates:
    """Carry the film both ways by turns; the first round only warms up. Folders of `cold` are evicted before a download."""
    rates = Rates()
    for number in range(rounds + 1):
        found = rates if number else Rates()
        for direct_rates, our_rates, carry in (
            (found.direct_up, found.ours_up, film.up),
            (found.direct_down, found.ours_down, film.down),
        ):
            turns: list[tuple[list[float], Way, str]] = [
                (direct_rates, direct, "direct"),
                (our_rates, gateway, "ours"),
            ]
            for into, way, path in turns if number % 2 else reversed(turns):
                if carry == film.down:
                    for folder in cold:
                        evict(folder)
                into.append(carry(way, path))
        if cold:
            found.cached_down.append(film.down(direct, "direct"))
        direct.remove("direct")
        gateway.remove("ours")
    return rates


def measure(
    film: Film, small: Film, name: str, folder: Path, server: radosgw.S3Server | None, rounds: int
) -> tuple[Rates, float]:
    """Compare on one backend; returns the rates and the larger growth of the two processes in MiB."""
    (folder / "direct").mkdir(exist_ok=True)
    direct: Way = Direct(server) if server else Folder(folder / "direct")
    with stack(folder, server.environment() if server else {}) as (gateway, servers):
        small.up(gateway, "warm")
        small.down(gateway, "warm")
        for each in servers:
            each.settle()
        rates = compare(
            film, direct, gateway, rounds, [] if server else [folder / "direct", folder / "files"]
        )
        rates.print(name)
        if rates.cached_down:
            cached = statistics.median(rates.cached_down)
            print(f"      (straight out of the page cache: {cached:.0f} MiB/s)")
        carried = 2 * (rounds + 1) * film.size / 1024**3
        for each in servers:
            print(
                f"      {each.name}: {each.idle_mib:.0f} MiB idle, +{each.growth_mib():.0f} MiB at its peak, "
                f"{each.cpu_seconds() / carried:.2f} CPU s/GiB"
            )
        return rates, max(each.growth_mib() for each in servers)


def main() -> int:
    """Measure on disk and on radosgw, and print the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=1024, help="size of the film (default: 1024)")
    parser.add_argument("--rounds", type=int, default=3, help="measured rounds of each backend (default: 3)")
    parser.add_argument("--backend", choices=["disk", "s3", "both"], default="both")
    options = parser.parse_args()
    keep_large_blocks()
    result: dict[str, float | None] = dict.fromkeys(
        ("disk_up_ratio", "disk_down_ratio", "s3_up_ratio", "s3_down_ratio"), None
    )
    growths: list[float] = []
    with (
        tempfile.TemporaryDirectory(prefix="bench-files-", dir=ROOT) as name,
        contextlib.ExitStack() as servers,
    ):
        folder = Path(name)
        (folder / "small").mkdir()
        film = make_film(folder, options.mib * MIB)
        small = make_film(folder / "small", MIB)
        backends: list[tuple[str, radosgw.S3Server | None]] = []
        if options.backend != "s3":
            backends.append(("disk", None))
        if options.backend != "disk":
            backends.append(("s3", servers.enter_context(radosgw.running())))
        print(f"{options.mib} MiB, median of {options.rounds} rounds, MiB/s")
        print("             straight  gateway   ratio   [gateway, every round]")
        for label, server in backends:
            rates, growth = measure(film, small, label, folder, server, options.rounds)
            result[f"{label}_up_ratio"] = round(rates.ratio("up"), 2)
            result[f"{label}_down_ratio"] = round(rates.ratio("down"), 2)
            growths.append(growth)
    print("RESULT " + json.dumps({**result, "rss_growth_mib": round(max(growths), 1)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
