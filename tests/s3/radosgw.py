"""Starts one Ceph node with its S3 gateway on free loopback ports in a temporary folder, and stops it.

One monitor, one OSD that keeps its objects in memory, one radosgw; no manager, no authentication between the daemons,
nothing written outside the folder. `python -m tests.s3.radosgw` runs it in the foreground and prints the environment
(`MINIO_HOST`, …) that points a filestore at it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = ("monmaptool", "ceph-mon", "ceph-osd", "ceph", "radosgw", "radosgw-admin")
_STEP_TIMEOUT_SECONDS = 60.0
_MEMORY_BYTES = 4 * 1024**3

_CONFIGURATION = """
[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{mon_v2},v1:127.0.0.1:{mon_v1}]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
auth cluster required = none
auth service required = none
auth client required = none
# radosgw asks for an encrypted session by default, which cannot be had without keys.
ms mon client mode = crc
ms mon service mode = crc
ms mon cluster mode = crc
ms cluster mode = crc
ms service mode = crc
ms client mode = crc
run dir = {folder}/run
admin socket = {folder}/run/$cluster-$name.$pid.asok
pid file = {folder}/run/$name.pid
log file = {folder}/log/$name.log
mon cluster log file = {folder}/log/cluster.log
crash dir = {folder}/crash
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pgp num = 8
osd crush chooseleaf type = 0
osd crush update on start = false
mon allow pool size one = true
mon max pg per osd = 1000
mon warn on pool no redundancy = false
mon data avail warn = 1
mon data avail crit = 1

[mon.a]
mon data = {folder}/mon

[osd.0]
osd data = {folder}/osd
osd objectstore = memstore
memstore device bytes = {memory}

[client.rgw.a]
rgw frontends = beast endpoint=127.0.0.1:{port}
rgw data = {folder}/rgw
rgw enable usage log = false
rgw gc obj min wait = 1
rgw gc processor period = 5
"""


def missing_programs() -> list[str]:
    """Return the programs of the recipe that this machine lacks; `make test-s3` installs them."""
    return [name for name in PROGRAMS if shutil.which(name) is None]


@dataclass(frozen=True)
class S3Server:
    """A running S3 endpoint and the key that owns it."""

    host: str
    port: int
    access_key: str
    secret_key: str
    pids: tuple[int, ...]
    """Process ids of its daemons, for benchmarks that count their memory and CPU time."""

    def environment(self) -> dict[str, str]:
        """Return the MINIO_* variables that a filestore reads."""
        return {
            "MINIO_HOST": self.host,
            "MINIO_PORT": str(self.port),
            "MINIO_ACCESS_KEY": self.access_key,
            "MINIO_SECRET_KEY": self.secret_key,
            "MINIO_SECURE": "false",
        }


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


class _Node:
    """One Ceph node in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.access_key = secrets.token_hex(10)
        self.secret_key = secrets.token_hex(20)
        mon_v2, mon_v1, self.port = _free_ports(3)
        self._mon_addresses = f"[v2:127.0.0.1:{mon_v2},v1:127.0.0.1:{mon_v1}]"
        self._fsid = str(uuid.uuid4())
        self._daemons: list[subprocess.Popen[bytes]] = []
        for name in ("run", "log", "crash", "mon", "osd", "rgw"):
            (folder / name).mkdir(parents=True)
        self._conf = folder / "ceph.conf"
        self._conf.write_text(
            _CONFIGURATION.format(
                fsid=self._fsid,
                mon_v2=mon_v2,
                mon_v1=mon_v1,
                folder=folder,
                port=self.port,
                memory=_MEMORY_BYTES,
            )
        )

    def start(self) -> None:
        """Make the cluster's files and start its daemons in the order they need."""
        monmap = str(self.folder / "monmap")
        self._step(
            "monmaptool",
            "--create",
            "--fsid",
            self._fsid,
            "--addv",
            "a",
            self._mon_addresses,
            monmap,
            conf=False,
        )
        self._step("ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap)
        self._daemon("ceph-mon", "-i", "a")
        osd_id = str(uuid.uuid4())
        self._step("ceph", "osd", "new", osd_id)
        self._step("ceph-osd", "--mkfs", "-i", "0", "--osd-uuid", osd_id)
        self._daemon("ceph-osd", "-i", "0")
        self._step("ceph", "osd", "crush", "add", "osd.0", "1.0", "root=default", "host=localhost")
        keys = ("--access-key", self.access_key, "--secret-key", self.secret_key)
        self._step(
            "radosgw-admin", "user", "create", "--uid", "yivideo", "--display-name", "YiVideo tests", *keys
        )
        self._daemon("radosgw", "-n", "client.rgw.a")
        self._wait_for_http()

    def stop(self) -> None:
        """Kill the daemons; their data is in memory, so there is nothing to flush."""
        for daemon in reversed(self._daemons):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(daemon.pid, signal.SIGKILL)
        for daemon in self._daemons:
            daemon.wait()

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the daemons."""
        return tuple(daemon.pid for daemon in self._daemons)

    def _step(self, *argv: str, conf: bool = True) -> None:
        command = [argv[0], "-c", str(self._conf), *argv[1:]] if conf else list(argv)
        done = subprocess.run(command, capture_output=True, timeout=_STEP_TIMEOUT_SECONDS, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed: {done.stderr.decode(errors='replace')[-2000:]}")

    def _daemon(self, program: str, *argv: str) -> None:
        log = (self.folder / "log" / f"{program}.stderr").open("wb")
        with log:
            self._daemons.append(
                subprocess.Popen(
                    [program, "-c", str(self._conf), "--foreground", *argv],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )

    def _wait_for_http(self) -> None:
        deadline = time.monotonic() + _STEP_TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            dead = [daemon.args for daemon in self._daemons if daemon.poll() is not None]
            if dead:
                raise RuntimeError(
                    f"a Ceph daemon ended at its start: {dead}; logs were in {self.folder}/log"
                )
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=5).close()
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
            else:
                return
        raise RuntimeError("radosgw did not answer in time")


@contextlib.contextmanager
def running() -> Iterator[S3Server]:
    """Run the server for the time of a block; about 13 s to start.

    Raises RuntimeError with the failing step's own words when a program is missing or a daemon does not come up.
    """
    missing = missing_programs()
    if missing:
        raise RuntimeError(
            f"no {', '.join(missing)} on this machine; run `make test-s3`, which installs them"
        )
    # Unix socket paths end at 107 characters, so the folder must lie near the root.
    with tempfile.TemporaryDirectory(prefix="rgw-", dir="/tmp") as name:
        node = _Node(Path(name))
        try:
            node.start()
            yield S3Server("127.0.0.1", node.port, node.access_key, node.secret_key, node.pids)
        finally:
            node.stop()


def main() -> int:
    """Run the server until SIGINT or SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with contextlib.suppress(KeyboardInterrupt), running() as server:
        for name, value in server.environment().items():
            print(f"export {name}={value}", flush=True)
        signal.pause()
    return 0


if __name__ == "__main__":
    sys.exit(main())
