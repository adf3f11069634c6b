"""deploy/compose.yaml as Compose reads it: variables filled in, one service after the other."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import ROOT

COMPOSE = ROOT / "deploy" / "compose.yaml"

_VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?::-(?P<default>[^}]*))?\}")


@dataclass(frozen=True)
class Service:
    """One container."""

    name: str
    image: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    networks: tuple[str, ...]
    volumes: Mapping[str, str]
    """Path in the container to what is mounted there: a volume's name or a path of the host."""
    read_only_volumes: frozenset[str]
    tmpfs: tuple[str, ...]
    secrets: Mapping[str, Path]
    """Name below /run/secrets to the file that is mounted there."""
    read_only: bool
    healthcheck: tuple[str, ...]
    stop_seconds: float
    depends_on: tuple[str, ...]
    """Services that are started before it and stopped after it."""


def filled_in(text: str, values: Mapping[str, str]) -> str:
    """Put variables in: `${NAME}` and `${NAME:-default}`, the forms that the file uses. Raises KeyError for one that is unset."""

    def value(match: re.Match[str]) -> str:
        name, default = match["name"], match["default"]
        return values.get(name) or default if default is not None else values[name]

    return _VARIABLE.sub(value, text)


def read_document(values: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The file with anchors merged, and variables filled in afterwards: an empty one is an empty text and not nothing."""
    document: dict[str, Any] = _each_text(yaml.safe_load(COMPOSE.read_text(encoding="utf-8")), values or {})
    return document


def _each_text(part: Any, values: Mapping[str, str]) -> Any:
    if isinstance(part, str):
        return filled_in(part, values)
    if isinstance(part, dict):
        return {name: _each_text(value, values) for name, value in part.items()}
    return [_each_text(entry, values) for entry in part] if isinstance(part, list) else part


def read_services(values: Mapping[str, str] | None = None) -> dict[str, Service]:
    """Every service of the file."""
    document = read_document(values)
    files = {name: COMPOSE.parent / entry["file"] for name, entry in document["secrets"].items()}
    return {name: _service(name, entry, files) for name, entry in document["services"].items()}


def in_order(services: Mapping[str, Service]) -> list[str]:
    """Names in an order in which they can be started; reversed, the one in which they are stopped."""
    graph = {
        name: [other for other in service.depends_on if other in services]
        for name, service in services.items()
    }
    return list(TopologicalSorter(graph).static_order())


def _service(name: str, entry: Mapping[str, Any], files: Mapping[str, Path]) -> Service:
    mounts = [volume.split(":") for volume in entry.get("volumes", ())]
    return Service(
        name=name,
        image=entry["image"],
        command=tuple(entry["command"]),
        environment={key: str(value) for key, value in entry["environment"].items()},
        networks=tuple(entry["networks"]),
        volumes={mount[1]: mount[0] for mount in mounts},
        read_only_volumes=frozenset(mount[1] for mount in mounts if mount[2:] == ["ro"]),
        tmpfs=tuple(entry["tmpfs"]),
        secrets={secret["target"]: files[secret["source"]] for secret in entry["secrets"]},
        read_only=entry["read_only"],
        healthcheck=tuple(entry["healthcheck"]["test"][1:]),
        stop_seconds=float(entry["stop_grace_period"].removesuffix("s")),
        depends_on=tuple(entry.get("depends_on", ())),
    )
