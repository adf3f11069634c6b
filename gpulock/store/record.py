"""A request as the scripts export it (`export` in prelude.lua): one flat list of strings, read into one object."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple


class Record(NamedTuple):
    """One request and, once granted, its lease. Times are logical µs since the Unix epoch; 0: not yet."""

    request_id: str
    pool: str
    state: str
    """W waits, G granted, X revoked and in quarantine, D done; N refused before it was queued."""
    device: str
    memory_mib: int
    device_count: int
    priority: int
    user: str
    task_id: str
    purpose: str
    client_id: str
    node: str
    host: str
    preemptible: bool
    asked_us: int
    token: int
    devices: tuple[tuple[str, int], ...]
    """Device and MiB, in the order of configuration."""
    granted_us: int
    expires_us: int
    beat_us: int
    warm: bool
    model: str
    stop: str
    """Why it was asked to stop, or revoked; empty: it was not."""
    stop_us: int
    """When a request to stop turns into a revocation; 0: never."""
    why: str
    replica: str
    detail: str
    parked: bool

    @property
    def holder(self) -> str:
        """What people call it by: its task, or else the request."""
        return self.task_id or self.request_id


def to_leased(fields: Sequence[bytes | str | int]) -> Record:
    """Read what a holder hears of its lease (`export_lease`); what it knows by itself is left out."""
    f: list[Any] = [field.decode() if isinstance(field, bytes) else field for field in fields]
    return Record(
        f[0], f[1], "G", "", 0, 0, 0, "", "", "", f[2], "", "", False, int(f[3]), int(f[4]), _devices(f[5]), int(f[6]),
        int(f[7]), 0, f[8] == "1", "", "", 0, "", "", "", False,
    )  # fmt: skip


def to_record(fields: Sequence[bytes | str | int]) -> Record:
    """Read an exported record."""
    f: list[Any] = [field.decode() if isinstance(field, bytes) else field for field in fields]
    return Record(
        f[0], f[1], f[2], f[3], int(f[4]), int(f[5]), int(f[6]), f[7], f[8], f[9], f[10], f[11], f[12],
        f[13] == "1", int(f[14]), int(f[15]), _devices(f[16]), int(f[17]), int(f[18]), int(f[19]), f[20] == "1", f[21],
        f[22], int(f[23]), f[24], f[25], f[26], f[27] == "1",
    )  # fmt: skip


def _devices(listed: str) -> tuple[tuple[str, int], ...]:
    return tuple(
        (name, int(mib)) for name, _, mib in (part.rpartition(":") for part in listed.split(",") if part)
    )
