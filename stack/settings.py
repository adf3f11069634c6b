"""What can be set about the embedded stack."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from runtime.settings import ProcessSettings, Section
from stack.devices import StackDevice


class OwnNode(Section):
    """A node of yours that runs as a part of the stack."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")
    """Name that its tasks begin with."""
    module: str = Field(pattern=r"^[A-Za-z_][\w.]*$")
    """Module that `python -m` starts it by."""
    slots: int = Field(2, ge=1, le=64)
    """Tasks that it runs at once."""


class StackSection(Section):
    """The embedded stack on this machine."""

    folder: Path = Path(".run")
    """Where Redis, stored files, scratch files and logs live; made when absent, kept when the stack stops."""
    gateway_listen: str = "127.0.0.1:8788"
    """`host:port` of the REST surface."""
    scheduler_replicas: int = Field(1, ge=1, le=8)
    """Scheduler processes."""
    ffmpeg_replicas: int = Field(1, ge=1, le=8)
    """Processes of the ffmpeg node."""
    ffmpeg_slots: int = Field(2, ge=1, le=64)
    """Tasks that one ffmpeg process runs at once."""
    gpulock_replicas: int = Field(1, ge=1, le=8)
    """Processes of the lock service."""
    lease_redis: bool = True
    """Whether leases have a Redis of their own, which does not wait for the disk; off: one Redis keeps everything."""
    devices: tuple[StackDevice, ...] = ()
    """Devices that it leases; empty: this machine's, and without any, one to try things with."""
    nodes: tuple[OwnNode, ...] = ()
    """Nodes of your own."""
    allow_addresses: tuple[str, ...] = ()
    """Private addresses that callbacks and remote inputs may name, as `host:port`; public ones need no entry."""
    callback_secret: str = ""
    """`whsec_…` that callbacks are signed with; empty: one is made and kept in the folder."""
    shared_root: Path | None = None
    """Folder whose files tasks may name by path; none by default."""


class StackSettings(ProcessSettings):
    """Settings of `python -m stack`."""

    stack: StackSection = StackSection()
    """The embedded stack."""
