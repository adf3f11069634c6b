"""What a render says, in our words: workloads with their environment, ports and files, services, settings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.deploy.kustomize import Objects
from tests.deploy.secret import secret_values

_DEFAULT_GRACE_SECONDS = 30
"""Kubernetes' own."""
HOST = "host-1"
"""Name of the Kubernetes node that a pod of the check is on."""


@dataclass(frozen=True)
class Workload:
    """One Deployment or StatefulSet; each has one container."""

    manifest: dict[str, Any] = field(hash=False)

    @property
    def name(self) -> str:
        return str(self.manifest["metadata"]["name"])

    @property
    def where(self) -> str:
        """What a finding calls it."""
        return f"{self.manifest['kind']} {self.name}"

    @property
    def labels(self) -> dict[str, str]:
        """Labels of its pods."""
        return dict(self.manifest["spec"]["template"]["metadata"].get("labels", {}))

    @property
    def pod(self) -> dict[str, Any]:
        found: dict[str, Any] = self.manifest["spec"]["template"]["spec"]
        return found

    @property
    def container(self) -> dict[str, Any]:
        found: dict[str, Any] = self.pod["containers"][0]
        return found

    @property
    def module(self) -> str:
        """What `python -m` starts; empty for what is not ours."""
        # A registry in front of it may have a port.
        if not str(self.container["image"]).rpartition("/")[2].startswith("yivideo-"):
            return ""
        return str(self.container["args"][0])

    @property
    def ports(self) -> dict[str, int]:
        return {str(port["name"]): int(port["containerPort"]) for port in self.container.get("ports", [])}

    @property
    def grace_seconds(self) -> int:
        return int(self.pod.get("terminationGracePeriodSeconds", _DEFAULT_GRACE_SECONDS))

    @property
    def pre_stop_seconds(self) -> int:
        hook = self.container.get("lifecycle", {}).get("preStop", {})
        return int(hook.get("sleep", {}).get("seconds", 0))

    @property
    def mounts(self) -> dict[str, dict[str, Any]]:
        """Volumes by the path they are at."""
        volumes = {volume["name"]: volume for volume in self.pod.get("volumes", [])}
        for claim in self.manifest["spec"].get("volumeClaimTemplates", []):
            volumes[claim["metadata"]["name"]] = {"name": claim["metadata"]["name"], "claimed": True}
        return {
            mount["mountPath"]: volumes[mount["name"]] for mount in self.container.get("volumeMounts", [])
        }

    def port(self, named: int | str) -> int | None:
        """Return a port's number by its number or name; None when the container has no such one."""
        if isinstance(named, int):
            return named if named in self.ports.values() else None
        return self.ports.get(named)

    def environment(self, secrets: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return what the process finds, nothing for a Secret's key that is not among `secrets` (those of secrets.sh)."""
        secrets = secret_values() if secrets is None else secrets
        found: dict[str, str] = {}
        for entry in self.container.get("env", []):
            source = entry.get("valueFrom")
            if source is None:
                found[entry["name"]] = re.sub(
                    r"\$\((\w+)\)", lambda match: found.get(match[1], match[0]), str(entry.get("value", ""))
                )
            elif "secretKeyRef" in source:
                found[entry["name"]] = secrets.get(source["secretKeyRef"]["key"], "")
            else:
                found[entry["name"]] = HOST
        return found


@dataclass(frozen=True)
class Render:
    """All objects of one kustomization."""

    name: str
    objects: Objects

    def of(self, *kinds: str) -> Iterator[dict[str, Any]]:
        """Yield the objects of some kinds."""
        return (one for one in self.objects if one["kind"] in kinds)

    @property
    def workloads(self) -> list[Workload]:
        return [Workload(one) for one in self.of("Deployment", "StatefulSet")]

    @property
    def ours(self) -> list[Workload]:
        """Workloads whose processes are of this repository."""
        return [workload for workload in self.workloads if workload.module]

    @property
    def nodes(self) -> list[Workload]:
        return [workload for workload in self.ours if workload.module.startswith("services.")]

    def workload(self, name: str) -> Workload | None:
        return next((workload for workload in self.workloads if workload.name == name), None)

    @property
    def services(self) -> dict[str, dict[str, Any]]:
        return {one["metadata"]["name"]: one for one in self.of("Service")}

    @property
    def settings_text(self) -> str:
        """The settings file that is mounted."""
        found = next(one for one in self.of("ConfigMap") if one["metadata"]["name"] == "settings")
        return str(found["data"]["settings.yaml"])

    def selected(self, selector: Mapping[str, Any]) -> list[Workload]:
        """Return the workloads whose pods a label selector means."""
        return [workload for workload in self.workloads if selects(selector, workload.labels)]


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a label selector means something with these labels."""
    if any(labels.get(name) != value for name, value in selector.get("matchLabels", {}).items()):
        return False
    for rule in selector.get("matchExpressions", []):
        inside = labels.get(rule["key"]) in rule.get("values", [])
        if inside != (rule["operator"] == "In"):
            return False
    return True


def title(one: Mapping[str, Any]) -> str:
    """What a finding calls an object."""
    return f"{one['kind']} {one['metadata']['name']}"
