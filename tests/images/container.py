"""A container without an engine: an image's files under a read-only root, in namespaces of its own, as a user with no rights.

What an engine would do, done by util-linux: `podman` and `crun` need cgroups that some machines do not hand out; this needs none.
The root is an overlay whose upper layer holds mount points only, and is read only before the process begins; the process is number
1 of its namespace, has the image's user, no capability and no way to get one.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from tests.images.compose import Service
from tests.images.image import Image

_DEVICES = ("null", "zero", "full", "random", "urandom")


class Container:
    """One running service; `start`, then `stop` or `kill`."""

    def __init__(self, service: Service, image: Image, network: str, folder: Path) -> None:
        """`network` is a network namespace, `folder` is kept on this machine: volumes and the log lie in it."""
        self.service = service
        self._image = image
        self._network = network
        self._folder = folder
        self.log = folder / f"{service.name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, hosts: str, volumes: Path) -> None:
        """Start it; `hosts` is its /etc/hosts, below `volumes` lie the named volumes."""
        own = self._folder / self.service.name
        own.mkdir()
        (own / "hosts").write_text(hosts)
        (own / "root").mkdir()
        script = "\n".join([*self._mounts(own, volumes), f"exec {shlex.join(self._argv(own / 'root'))}"])
        environment = {**self._image.environment, **self.service.environment}
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                ["nsenter", f"--net={self._network}",
                 "unshare", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "--propagation", "private",
                 "sh", "-euc", script],
                env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def _mounts(self, own: Path, volumes: Path) -> list[str]:
        """Shell lines that put the root together."""
        root = own / "root"
        service = self.service
        lines = [
            f"mount -t tmpfs tmpfs {own}/root",
            f"mkdir {root}/upper {root}/work {root}/merged",
            f"mount -t overlay overlay -o lowerdir={self._image.root},upperdir={root}/upper,workdir={root}/work {root}/merged",
            f"cd {root}/merged",
            "mkdir -p proc sys dev run/secrets tmp etc && touch etc/hosts etc/resolv.conf etc/hostname",
        ]
        for target, source in service.volumes.items():
            place = Path(source) if source.startswith("/") else self._named(volumes, source)
            lines += [f"mkdir -p .{target}", f"mount --bind {place} .{target}"]
            if target in service.read_only_volumes:
                lines.append(f"mount -o remount,bind,ro .{target}")
        for name, path in service.secrets.items():
            lines += [f"touch run/secrets/{name}", f"mount --bind -o ro {path} run/secrets/{name}"]
        lines += [f"mount --bind -o ro {own}/hosts etc/hosts"]
        for entry in service.tmpfs:
            target, _, options = entry.partition(":")
            lines.append(f"mount -t tmpfs -o nosuid,nodev,noexec,{options} tmpfs .{target}")
        lines += [
            "mount -t proc -o nosuid,nodev,noexec proc proc",
            "mount -t sysfs -o ro,nosuid,nodev,noexec sysfs sys",
        ]
        lines += ["mount -t tmpfs -o nosuid,mode=755 tmpfs dev", "mkdir dev/shm"]
        lines += [f"touch dev/{name} && mount --bind /dev/{name} dev/{name}" for name in _DEVICES]
        lines += ["ln -s /proc/self/fd dev/fd", "mount -t tmpfs -o nosuid,nodev,mode=1777 tmpfs dev/shm"]
        if service.read_only:
            lines.append("mount -o remount,bind,ro .")
        lines.append(f"hostname {service.name}")
        return lines

    def _named(self, volumes: Path, name: str) -> Path:
        """A named volume: made of the image's own folder's owner, as Docker makes it."""
        place = volumes / name
        if not place.exists():
            place.mkdir()
            os.chown(place, *self._image.uid_gid)
        return place

    def _argv(self, own_root: Path) -> list[str]:
        uid, gid = self._image.uid_gid
        config = self._image.config
        return [
            "/usr/sbin/chroot", f"{own_root}/merged",
            "setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "--no-new-privs",
            "--inh-caps=-all", "--bounding-set=-all",
            "env", "-C", config["WorkingDir"], *config["Entrypoint"], *self.service.command,
        ]  # fmt: skip

    @property
    def pid(self) -> int:
        """Process 1 of the container, as this machine numbers it."""
        assert self._process is not None, "it was not started"
        found = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        return int(found[0])

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return self._process is None or self._process.poll() is not None

    def run_inside(self, *argv: str, timeout: float = 20) -> subprocess.CompletedProcess[str]:
        """Run something beside the process, as its user, with its files, its network and its variables."""
        uid, gid = self._image.uid_gid
        return subprocess.run(
            ["nsenter", f"--target={self.pid}", "--mount", "--pid", "--net", "--ipc", "--uts", "--root", "--wd",
             "setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "--no-new-privs", "--inh-caps=-all",
             "--bounding-set=-all", *argv],
            env={**self._image.environment, **self.service.environment},
            capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip

    def healthy(self) -> bool:
        """Whether the health check of the compose file says yes."""
        try:
            return not self.ended and self.run_inside(*self.service.healthcheck).returncode == 0
        except (IndexError, FileNotFoundError, subprocess.TimeoutExpired):
            return False

    def processes(self, what: str) -> list[str]:
        """A file of /proc (`stat`, `status`) of each process of the container; of those that do not end meanwhile."""
        space = Path(f"/proc/{self.pid}/ns/pid").readlink()
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if (path / "ns/pid").readlink() == space:
                    found.append((path / what).read_text())
        return found

    def stop(self) -> tuple[int, float]:
        """Ask it to end, as an engine does; gives the exit code and the seconds. It is killed when its grace is over."""
        assert self._process is not None, "it was not started"
        began = time.monotonic()
        if not self.ended:
            os.kill(self.pid, signal.SIGTERM)
        try:
            self._process.wait(self.service.stop_seconds)
        except subprocess.TimeoutExpired:
            self.kill()
        return self._process.returncode, time.monotonic() - began

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()  # --kill-child takes the rest along
            self._process.wait(10)
