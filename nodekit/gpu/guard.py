"""The device guard: remembers, per device of this host, the highest fencing token that was let in, and lets no older one in
after it.

A GPU cannot check a token by itself, so the nodes of a host do before the first process of a lease starts. Whole-device leases
admit nobody beside them; memory shares live side by side, so between two shares the order of their tokens says nothing.
Processes of an older lease that must be gone are known by their mark (`nodekit.process.process_tree`) and killed. It sees only the
processes of its own user and process namespace; the folder must be shared by the nodes that share the devices.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from nodekit.failure import TaskFailed
from nodekit.process.process_tree import kill_members, members
from runtime.logs import get_logger
from yivideo.gpulock.v1 import lock_pb2

log = get_logger(__name__)

_CLEAR_SECONDS = 10.0
_POLL_SECONDS = 0.005
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")


def default_root() -> Path:
    """Return the folder that the nodes of one user on one host share."""
    return Path(tempfile.gettempdir()) / f"yivideo-gpu-{os.getuid()}"


@dataclass
class _Register:
    """What a device's file holds."""

    highest: int = 0
    """Highest token let in."""
    exclusive: int = 0
    """Highest token of a whole-device lease let in."""
    inside: dict[str, list[object]] = field(default_factory=dict)
    """Token → mark of its processes, and whether it has the whole device."""


class DeviceGuard:
    """The registers of one folder. Methods that touch files run in threads."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def admit(self, lease: lock_pb2.Lease, mark: str, *, whole: bool) -> None:
        """Let a lease in on each of its devices; its processes must carry the mark.

        Raises TaskFailed: GPU_LEASE_STALE when a newer one was let in before, GPU_DEVICE_BUSY when processes of an older one do
        not die.
        """
        for device in lease.devices:
            await asyncio.to_thread(self._admit, key_of(device), lease.token, mark, whole)

    async def leave(self, lease: lock_pb2.Lease) -> None:
        """Forget who is inside under this lease; its token is remembered."""
        for device in lease.devices:
            await asyncio.to_thread(self._leave, key_of(device), lease.token)

    def highest(self) -> int:
        """Return the highest token that any device remembers; 0: none."""
        if not self._root.is_dir():
            return 0
        return max((_read(path).highest for path in self._root.glob("*.json")), default=0)

    def _admit(self, key: str, token: int, mark: str, whole: bool) -> None:
        with self._opened(key) as register:
            floor = register.highest if whole else register.exclusive
            if token < floor:
                raise TaskFailed(
                    "GPU_LEASE_STALE",
                    f"the device {key} has let in the token {floor}, which is newer than {token}",
                    retryable=True,
                )
            older = {
                name: str(there)
                for name, (there, is_whole) in register.inside.items()
                if int(name) < token and there != mark and (whole or is_whole)
            }
            register.highest = max(register.highest, token)
            register.exclusive = max(register.exclusive, token if whole else 0)
            register.inside[str(token)] = [mark, whole]
        for name, there in older.items():
            _clear(key, name, there)
        if older:
            with self._opened(key) as register:
                for name in older:
                    register.inside.pop(name, None)

    def _leave(self, key: str, token: int) -> None:
        with self._opened(key) as register:
            register.inside.pop(str(token), None)

    @contextmanager
    def _opened(self, key: str) -> Iterator[_Register]:
        """Hold a device's register; it is written back, whole or not at all, when the block ends well."""
        self._root.mkdir(parents=True, exist_ok=True)
        path = self._root / f"{key}.json"
        with path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            register = _read(path)
            yield register
            draft = path.with_suffix(".draft")
            draft.write_text(json.dumps(asdict(register)))
            draft.replace(path)


def key_of(device: lock_pb2.LeasedDevice) -> str:
    """Return the name of a device's files: what it is to this host, whatever the pool calls it."""
    return _UNSAFE.sub("_", device.visible or device.device)


def _read(path: Path) -> _Register:
    try:
        return _Register(**json.loads(path.read_text()))
    except FileNotFoundError:
        return _Register()
    except (ValueError, TypeError):
        log.error("device register cannot be read and begins anew", path=str(path))
        return _Register()


def _clear(key: str, token: str, mark: str) -> None:
    """Kill what is left of an older lease."""
    found = members(mark)
    if not found:
        return
    log.warning("processes of an older GPU lease are killed", device=key, token=token, pids=found)
    deadline = time.monotonic() + _CLEAR_SECONDS
    while kill_members(mark):
        if time.monotonic() > deadline:
            raise TaskFailed(
                "GPU_DEVICE_BUSY", f"processes of an older lease on {key} do not die", retryable=True
            )
        time.sleep(_POLL_SECONDS)
