"""The settings of all parts, checked before anything starts: what a part would refuse, and what the stack makes itself."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence

from filestore.settings import FilestoreSettings
from gateway.settings import GatewaySettings
from gpulock.settings import GpulockSettings
from language_models.settings import LlmSettings
from nodekit.settings import NodeSettings
from runtime.section_names import DELIMITER, PREFIX, variable_name
from runtime.settings import ProcessSettings, SettingsError, load_settings, read_given
from stack.part import PartSpec
from stack.placement import PlacedNode

_SERVERS: Mapping[str, type[ProcessSettings]] = {
    "gateway": GatewaySettings,
    "filestore": FilestoreSettings,
    "gpulock": GpulockSettings,
}

_SPEAK_TO_MODELS = frozenset({"services.llm", "services.subtitle"})

_INSTEAD = {
    "gateway.listen": "stack.gateway_listen",
    "runtime.listen": "stack.gateway_listen",
    "runtime.metrics_listen": "stack.metrics_port",
    "scheduler.nodes": "stack.remote_nodes",
    "runtime.token": "stack.token",
    "scheduler.callbacks.secrets": "stack.callback_secret",
    "scheduler.callbacks.allow": "stack.allow_addresses",
    "node.egress_allow": "stack.allow_addresses",
    "node.allowed_roots": "stack.shared_root",
    "node.slots": "stack.slots",
    "node.work_root": "stack.folder",
    "filestore.root": "stack.folder",
    "gpulock.devices": "stack.devices",
}
"""The stack's setting that decides what its parts are told."""


def drain_seconds() -> float:
    """Return the grace that every part of the stack has. Raises SettingsError."""
    return load_settings(ProcessSettings).runtime.drain_seconds


def check_settings(parts: Iterable[PartSpec], nodes: Sequence[PlacedNode]) -> None:
    """Raise SettingsError with every fault of every part."""
    modules = {name: node for node in nodes for name in node.part_names}
    faults: dict[str, None] = {}  # in the order found, each once: most are every part's
    for part in parts:
        faults.update(dict.fromkeys(_overridden(part)))
        environment = {**os.environ, **part.environment}
        for kind in _settings_classes(part, modules):
            try:
                load_settings(kind, environment)
            except SettingsError as error:
                faults.update(dict.fromkeys(str(error).splitlines()[1:] or [str(error)]))
    if faults:
        raise SettingsError("settings: cannot start\n" + "\n".join(faults))


def _settings_classes(part: PartSpec, modules: Mapping[str, PlacedNode]) -> Iterator[type[ProcessSettings]]:
    node = modules.get(part.name)
    if node is None:
        module = part.argv[-1]
        if module == "scheduler":
            # Its room pulls Redis' client in, which the stack needs for nothing else.
            from scheduler.settings import SchedulerSettings

            yield SchedulerSettings
        elif module in _SERVERS:
            yield _SERVERS[module]
        return
    yield NodeSettings
    if node.row.module in _SPEAK_TO_MODELS:
        yield LlmSettings
    if node.interpreter == sys.executable:
        yield from _own_settings(node.row.module)


def _own_settings(module: str) -> Iterator[type[ProcessSettings]]:
    """Yield the classes of a node's own sections, where it has a module `settings`; a broken one is for the node to tell."""
    try:
        name = f"{module}.settings"
        if importlib.util.find_spec(name) is None:
            return
        members = vars(importlib.import_module(name)).values()
    except Exception:
        return
    for found in members:
        if inspect.isclass(found) and issubclass(found, ProcessSettings) and found.__module__ == name:
            yield found


def _overridden(part: PartSpec) -> Iterator[str]:
    """Yield a line for each setting that was given and that the stack sets by itself."""
    given = read_given()
    for variable, value in part.environment.items():
        path = variable.removeprefix(PREFIX).lower().split(DELIMITER)
        where = given.has(path)
        if where and os.environ.get(where) != value:
            name = ".".join(path)
            instead = _INSTEAD.get(name)
            hint = f"; set {instead} ({variable_name(*instead.split('.'))}) instead" if instead else ""
            yield f"  {name}: the stack chooses this itself for each of its parts{hint} [{where}]"
