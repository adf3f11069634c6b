"""Answers about the whole installation, as it is now."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from gateway.http.model import Answer
from gateway.v1.answers.operations import QueueInfo


class PartStatus(Answer):
    """One part of the installation."""

    name: str
    """gateway, scheduler, filestore or gpulock."""
    state: Literal["serving", "failing", "unreachable", "draining", "absent"]
    """serving; failing: it answers, and says that something is wrong; unreachable: no answer in time; draining: it is about to end;
    absent: this installation has none."""
    error: str | None
    """What is wrong; null: nothing."""
    version: str | None
    """What runs; null: it did not say."""
    replicas: int | None
    """Replicas that live, as far as the part itself knows; null: it does not."""
    milliseconds: float
    """How long its answer took."""


class ReplicaStatus(Answer):
    """One replica of a node, as the scheduler sees it."""

    address: str
    """Where the scheduler reaches it."""
    replica: str | None
    """Its id; null: it was never reached."""
    state: Literal["connected", "draining", "unreachable"]
    """connected; draining: takes nothing new; unreachable: not in sight."""
    slots: int
    """Attempts that it can run at once."""
    free_slots: int
    """Those that are free."""
    engines: list[str]
    """Engines that it can use."""
    models: list[str]
    """Models that it has loaded."""
    version: str | None
    """What runs; null: it did not say."""


class NodeStatus(QueueInfo):
    """A node: its queue and its replicas."""

    replica_list: list[ReplicaStatus]
    """Its replicas by address."""


class DeviceStatus(Answer):
    """A device that the lock service leases."""

    device: str
    """Its name."""
    memory_mib: int
    """Memory that can be leased."""
    leased_mib: int
    """Memory in leases, quarantine included."""
    holders: int
    """Leases on it."""
    draining: bool
    """Whether nothing more is granted."""


class Capacity(Answer):
    """What the installation can do now, all nodes together."""

    slots: int
    """Attempts that can run at once."""
    free_slots: int
    """Those that are free."""
    running: int
    """Tasks that run."""
    waiting: int
    """Tasks that could start now."""
    oldest_wait_seconds: float
    """Age of the longest waiting of them."""


class InstallationStatus(Answer):
    """The whole installation."""

    status: Literal["ok", "degraded", "down"]
    """ok; degraded: tasks can be run, and something is wrong; down: tasks cannot be run."""
    problems: list[str]
    """Why it is not ok, a sentence for each cause; empty: it is."""
    version: str
    """Version of the gateway that answers."""
    time: datetime
    """When this was true."""
    parts: list[PartStatus]
    """The parts; those that are down too."""
    capacity: Capacity | None
    """Null: the scheduler did not say."""
    nodes: list[NodeStatus] | None
    """In node order; null: the scheduler did not say."""
    devices: list[DeviceStatus] | None
    """GPUs; null: the lock service did not say, or there is none."""
    gpu_waiters: int | None
    """Requests that wait for a device; null like `devices`."""
