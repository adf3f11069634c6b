"""Rules of ours for every workload: restricted pods, bounded resources, probes of their own kinds, and who stops before whom."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from nodekit.settings import NodeSettings
from runtime.settings import SettingsError
from scheduler.settings import SchedulerSettings
from tests.deploy.finding import Finding, invalid
from tests.deploy.loading import settings_classes, settings_of
from tests.deploy.manifests import Render, Workload, selects

_SLACK_SECONDS = 5.0
_NODE_SLACK_SECONDS = 15.0
_SCHEDULER_SLACK_SECONDS = 10.0
"""docs/operations.md, “Processes under an orchestrator”: what a process needs beside its drain."""


def hardening_findings(render: Render) -> Iterator[Finding]:
    """Yield every rule that a workload breaks."""
    for workload in render.workloads:
        where = f"{render.name}: {workload.where}"
        rules = (
            *restricted_faults(workload),
            *_resources(workload),
            *_probes(workload),
            *_spread(workload),
            *_companions(render, workload),
        )
        yield from (invalid(where, what) for what in rules)
    # Who has no settings has no drain either; tests/deploy/names.py tells of it.
    with contextlib.suppress(SettingsError, IndexError):
        yield from list(_stops(render))
    yield from (invalid(f"{render.name}: Secret {one['metadata']['name']}", "secrets are referred to, never here")
                for one in render.of("Secret"))  # fmt: skip
    yield from (invalid(f"{render.name}: Namespace {one['metadata']['name']}",
                        "deleting what was applied would delete the volumes in it")
                for one in render.of("Namespace"))  # fmt: skip


def restricted_faults(workload: Workload) -> Iterator[str]:
    """Yield what Pod Security Standards, `restricted`, have against a workload, and what they leave open."""
    pod, own = workload.pod, workload.container.get("securityContext", {})
    context = pod.get("securityContext", {})
    if len(pod["containers"]) != 1 or pod.get("initContainers"):
        yield "one container a pod is what these rules look at"
    wanted = {
        "pod.automountServiceAccountToken": (pod.get("automountServiceAccountToken"), False),
        "pod.enableServiceLinks": (pod.get("enableServiceLinks"), False),
        "runAsNonRoot": (context.get("runAsNonRoot"), True),
        "seccompProfile": (context.get("seccompProfile"), {"type": "RuntimeDefault"}),
        "allowPrivilegeEscalation": (own.get("allowPrivilegeEscalation"), False),
        "readOnlyRootFilesystem": (own.get("readOnlyRootFilesystem"), True),
        "capabilities": (own.get("capabilities"), {"drop": ["ALL"]}),
    }
    yield from (
        f"{name} is {given!r}, not {right!r}" for name, (given, right) in wanted.items() if given != right
    )
    yield from (
        f"{name} is not allowed"
        for name in ("hostNetwork", "hostPID", "hostIPC", "serviceAccountName")
        if pod.get(name)
    )
    allowed = {
        "configMap",
        "secret",
        "emptyDir",
        "persistentVolumeClaim",
        "projected",
        "downwardAPI",
        "csi",
        "ephemeral",
    }
    for volume in pod.get("volumes", []):
        if not allowed & set(volume):
            yield f"volume {volume['name']} is of a kind that `restricted` refuses"
        if "emptyDir" in volume and "sizeLimit" not in volume["emptyDir"]:
            yield f"volume {volume['name']} has no bound"
    for mount in workload.container.get("volumeMounts", []):
        if "subPath" in mount:
            yield f"{mount['mountPath']} is mounted by subPath, which is never updated"


def _resources(workload: Workload) -> Iterator[str]:
    given = workload.container.get("resources", {})
    for kind, names in (
        ("requests", ("cpu", "memory", "ephemeral-storage")),
        ("limits", ("memory", "ephemeral-storage")),
    ):
        yield from (f"no {kind} of {name}" for name in names if name not in given.get(kind, {}))
    if "priorityClassName" not in workload.pod:
        yield "no priority"


def _probes(workload: Workload) -> Iterator[str]:
    container = workload.container
    for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
        if kind not in container:
            yield f"no {kind}"
    asks = {kind: _asked(container.get(f"{kind}Probe", {})) for kind in ("startup", "liveness", "readiness")}
    if workload.module and asks["liveness"] == asks["readiness"]:
        yield "liveness and readiness ask the same: a store that is away would restart it"
    startup = container.get("startupProbe", {})
    if startup.get("failureThreshold", 3) * startup.get("periodSeconds", 10) < 60:
        yield "less than a minute to start"


def _spread(workload: Workload) -> Iterator[str]:
    """Replicas that must be on hosts of their own keep away from each other, and from nobody else who may share these hosts."""
    rules = workload.pod.get("affinity", {}).get("podAntiAffinity", {})
    for term in rules.get("requiredDuringSchedulingIgnoredDuringExecution", []):
        if "matchLabelKeys" in term:
            yield "matchLabelKeys of an affinity is passed over by Kubernetes 1.30: its selector must do"
        name = workload.labels.get("app.kubernetes.io/name")
        if term["labelSelector"].get("matchLabels") != {"app.kubernetes.io/name": name}:
            yield f"keeps away from {term['labelSelector']}, not from its own replicas alone"


def _asked(probe: dict[str, object]) -> object:
    return next((probe[kind] for kind in ("grpc", "httpGet", "tcpSocket", "exec") if kind in probe), None)


def _companions(render: Render, workload: Workload) -> Iterator[str]:
    """What stands beside a workload of ours: a budget for its disruption, a spread of its replicas, a Service."""
    chosen = [one["spec"]["selector"] for one in render.of("Service")]
    if not any(selects({"matchLabels": selector}, workload.labels) for selector in chosen):
        yield "no Service leads to it"
    if not workload.module:
        return
    budgets = [
        one for one in render.of("PodDisruptionBudget") if selects(one["spec"]["selector"], workload.labels)
    ]
    if len(budgets) != 1:
        yield f"{len(budgets)} disruption budgets, not one"
    keys = {rule["topologyKey"] for rule in workload.pod.get("topologySpreadConstraints", [])}
    if keys != {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}:
        yield f"is spread over {sorted(keys)}"


def _stops(render: Render) -> Iterator[Finding]:
    """The order of trust, by arithmetic: gateway, nodes, schedulers, then what those need; each is given the time it may take."""

    def late(workload: Workload, what: str, given: float, least: float) -> Iterator[Finding]:
        if given < least:
            yield invalid(
                f"{render.name}: {workload.where}", f"{what} is {given:g} s, and {least:g} s are needed"
            )

    drains = {workload.name: _drain_seconds(workload, render) for workload in render.ours}
    killing = max(
        (settings_of(node, render, NodeSettings).node.kill_grace_seconds for node in render.nodes),
        default=0.0,
    )
    nodes = max((drains[node.name] for node in render.nodes), default=0.0) + killing
    schedulers = 0.0
    for workload in render.ours:
        drain, before, hook = drains[workload.name], 0.0, float(workload.pre_stop_seconds)
        if workload in render.nodes:
            need = drain + killing + _NODE_SLACK_SECONDS
        elif workload.module == "scheduler":
            hand_back = settings_of(workload, render, SchedulerSettings).scheduler.hand_back_seconds
            yield from late(workload, "hand_back_seconds", hand_back, nodes)
            need = schedulers = hand_back + drain + _SCHEDULER_SLACK_SECONDS
        else:
            before = _SLACK_SECONDS if workload.module == "gateway" else nodes + _NODE_SLACK_SECONDS
            need = hook + drain + _SLACK_SECONDS
        yield from late(workload, "preStop", hook, before)
        yield from late(workload, "terminationGracePeriodSeconds", workload.grace_seconds, need)
    for workload in render.workloads:
        if not workload.module:  # a store
            yield from late(workload, "preStop", workload.pre_stop_seconds, schedulers)
            need = workload.pre_stop_seconds + _SLACK_SECONDS
            yield from late(workload, "terminationGracePeriodSeconds", workload.grace_seconds, need)


def _drain_seconds(workload: Workload, render: Render) -> float:
    return settings_of(workload, render, settings_classes(workload.module)[0]).runtime.drain_seconds
