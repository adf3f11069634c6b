"""The settings that a workload's processes would read, by their own loader: what it refuses, a pod would end with."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from filestore.settings import FilestoreSettings
from gateway.settings import GatewaySettings
from gpulock.settings import GpulockSettings
from language_models.settings import LlmSettings
from nodekit.settings import NodeSettings
from runtime.section_names import CONFIG_VARIABLE
from runtime.settings import ProcessSettings, load_settings
from scheduler.settings import SchedulerSettings
from tests.deploy.manifests import Render, Workload

_SERVERS: Mapping[str, type[ProcessSettings]] = {
    "gateway": GatewaySettings,
    "scheduler": SchedulerSettings,
    "filestore": FilestoreSettings,
    "gpulock": GpulockSettings,
}
_SPEAK_TO_MODELS = frozenset({"services.llm", "services.subtitle"})

S = TypeVar("S", bound=ProcessSettings)


def settings_classes(module: str) -> list[type[ProcessSettings]]:
    """Return the settings classes that a module's process reads; none for a module that there is not."""
    if module in _SERVERS:
        return [_SERVERS[module]]
    if not module.startswith("services.") or importlib.util.find_spec(module) is None:
        return []
    found: list[type[ProcessSettings]] = [NodeSettings]
    if module in _SPEAK_TO_MODELS:
        found.append(LlmSettings)
    if importlib.util.find_spec(f"{module}.settings") is not None:
        members = vars(importlib.import_module(f"{module}.settings")).values()
        found += [
            one
            for one in members
            if inspect.isclass(one)
            and issubclass(one, ProcessSettings)
            and one.__module__ == f"{module}.settings"
        ]
    return found


def settings_of(workload: Workload, render: Render, kind: type[S]) -> S:
    """Return what a process of the workload reads. Raises SettingsError, as the process would."""
    with tempfile.NamedTemporaryFile("w", prefix="settings-", suffix=".yaml") as file:
        file.write(render.settings_text)
        file.flush()
        environment = {**workload.environment(), CONFIG_VARIABLE: str(Path(file.name))}
        return load_settings(kind, environment)
