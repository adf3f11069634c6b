"""What can be set about the embedded stack."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, field_validator

from runtime.settings import Listen, ProcessSettings, Section
from stack.devices import StackDevice
from stack.node_table import NODE_TABLE, NodeRow, RemoteNode


class StackSection(Section):
    """The embedded stack on this machine."""

    folder: Path = Path(".run")
    """Where Redis, stored files, scratch files and logs live; made when absent, kept when the stack stops."""
    gateway_listen: Listen = "127.0.0.1:8788"
    """`host:port` of the REST surface."""
    metrics_host: str = "127.0.0.1"
    """Host that every part serves its /metrics on."""
    metrics_port: int = Field(8810, ge=0, le=65_000)
    """First of the ports that the parts' /metrics have, in the order of the parts; kept over restarts. A port that another process
    has is passed over. 0: any free ones."""
    metrics_ports: dict[str, Annotated[int, Field(ge=1, le=65_535)]] = Field(default_factory=dict)
    """Port of a part's /metrics, by the part's name (`scheduler`, `ffmpeg-2`), where it must be a certain one."""
    log_mib: float = Field(32.0, gt=0)
    """Size at which a part's log file is put aside and begun anew."""
    log_files: int = Field(3, ge=0, le=100)
    """Older log files that are kept of each part."""
    scheduler_replicas: int = Field(1, ge=1, le=8)
    """Scheduler processes."""
    only: tuple[str, ...] = ()
    """Nodes of the table that are started; empty: all."""
    node_table: Path = NODE_TABLE
    """File that says which nodes there are."""
    replicas: dict[str, Annotated[int, Field(ge=1, le=8)]] = Field(default_factory=dict)
    """Processes of a node, by its name, where the table's number will not do."""
    slots: dict[str, Annotated[int, Field(ge=1, le=64)]] = Field(default_factory=dict)
    """Tasks that one process of a node runs at once, by its name, where the table's number will not do."""
    environments: Path = Path(".environments")
    """Folder of the environments that `make environment` has made."""
    locks: Path = Path("requirements")
    """Folder of their locks."""
    gpulock_replicas: int = Field(1, ge=1, le=8)
    """Processes of the lock service."""
    lease_redis: bool = True
    """Whether leases have a Redis of their own, which does not wait for the disk; off: one Redis keeps everything."""
    devices: tuple[StackDevice, ...] = ()
    """Devices that it leases; empty: this machine's, and without any, one to try things with."""
    nodes: tuple[NodeRow, ...] = ()
    """Nodes of your own, beside those of the table."""
    remote_nodes: tuple[RemoteNode, ...] = ()
    """Nodes that run already, wherever and in whatever language: their names and addresses. The stack does
    not start them and does not wait for them; one with the name of a node that it starts counts as more replicas of it."""
    token: SecretStr | None = None
    """Bearer token of the stack's servers, by which it also calls `remote_nodes`: 16 to 256 of `A-Z a-z 0-9 . _ ~ -`; unset: a new
    one at every start."""
    allow_addresses: tuple[str, ...] = ()
    """Private addresses that callbacks and remote inputs may name, as `host:port`; public ones need no entry."""
    callback_secret: str = ""
    """`whsec_…` that callbacks are signed with; empty: one is made and kept in the folder."""
    shared_root: Path | None = None
    """Folder whose files tasks may name by path; none by default."""

    @field_validator("token")
    @classmethod
    def _fits_into_urls(cls, token: SecretStr | None) -> SecretStr | None:
        if token is not None and not re.fullmatch(r"[A-Za-z0-9._~-]{16,256}", token.get_secret_value()):
            raise ValueError("must be 16 to 256 of A-Z a-z 0-9 . _ ~ -")
        return token


class StackSettings(ProcessSettings):
    """Settings of `python -m stack`."""

    stack: StackSection = StackSection()
    """The embedded stack."""
