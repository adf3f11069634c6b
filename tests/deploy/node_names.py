"""Nodes by name: the node table, their workloads, what the scheduler is told of them, and the pools that they ask in."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

from gpulock.settings import GpulockSettings
from leases.ask import DEFAULT_POOL
from nodekit.settings import NodeSettings
from runtime.settings import SettingsError
from scheduler.settings import SchedulerSettings
from tests.deploy.finding import Finding, not_in_code
from tests.deploy.kustomize import ROOT
from tests.deploy.loading import settings_of
from tests.deploy.manifests import Render

_NO_POOL = "none"
"""The pool of the device that base/settings names where there is no card."""


def node_table() -> dict[str, dict[str, Any]]:
    """Return services/nodes.toml."""
    return tomllib.loads((ROOT / "services" / "nodes.toml").read_text())


def node_findings(render: Render) -> Iterator[Finding]:
    """Yield nodes that somebody does not know, and pools that nobody has."""
    yield from _nodes(render)
    yield from _pools(render)


def _nodes(render: Render) -> Iterator[Finding]:
    """The node table, the Deployments and what the scheduler is told are the same nodes."""
    where = f"{render.name}: nodes"
    table = {row["module"]: (row.get("node", name), str(row["slots"])) for name, row in node_table().items()}
    here = {node.module: node for node in render.nodes}
    for module in table.keys() - here.keys():
        yield not_in_code(where, f"{module} of services/nodes.toml has no workload")
    scheduler = render.workload("scheduler")
    told: Mapping[str, tuple[str, ...]] = {}
    if scheduler is not None:
        try:
            section = settings_of(scheduler, render, SchedulerSettings).scheduler
            told = {node.node: node.addresses for node in section.nodes}
        except SettingsError:
            return  # told already
    for module, node in here.items():
        if module not in table:
            continue  # told already: there is no such module
        prefix, slots = table[module]
        if told.get(prefix) != (f"{node.name}:7810",):
            yield not_in_code(
                where, f"the scheduler looks for {prefix} at {told.get(prefix)}, not at {node.name}"
            )
        if node.environment().get("YIVIDEO_NODE__SLOTS") != slots:
            yield not_in_code(where, f"{node.name} has other slots than services/nodes.toml ({slots})")
    for prefix in told.keys() - {prefix for prefix, _ in table.values()}:
        yield not_in_code(where, f"the scheduler is told of {prefix}, which is no node")


def _pools(render: Render) -> Iterator[Finding]:
    """Where the lock service knows cards, each node that asks it asks in a pool that has some."""
    lock = render.workload("gpulock")
    try:
        devices = settings_of(lock, render, GpulockSettings).gpulock.devices if lock else ()
        pools = {device.pool for device in devices} - {_NO_POOL}
        for node in render.nodes if pools else ():
            gpu = settings_of(node, render, NodeSettings).gpu
            pool = gpu.pool or DEFAULT_POOL
            if gpu.lock and gpu.mode != "cpu" and pool not in pools:
                where = f"{render.name}: {node.where}"
                yield not_in_code(where, f"asks in the pool {pool}; there are {sorted(pools)}")
    except SettingsError:
        return  # told already
