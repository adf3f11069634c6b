"""What is wrong with a manifest is found and named: each law of `make check-deploy` against a manifest that breaks it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("kubernetes_validate", reason="`make check-deploy` installs it")

from tests.deploy.__main__ import RULES
from tests.deploy.arrows import arrow_findings, outside_findings, port_findings
from tests.deploy.finding import Finding
from tests.deploy.hardening import hardening_findings
from tests.deploy.manifests import Render, Workload
from tests.deploy.names import name_findings
from tests.deploy.secret import secret_values
from tests.deploy.validity import schema_findings

pytestmark = pytest.mark.slow

Rule = Callable[[Render], Iterator[Finding]]


def named(render: Render, kind: str, name: str) -> dict[str, Any]:
    return next(one for one in render.objects if one["kind"] == kind and one["metadata"]["name"] == name)


def container(render: Render, name: str) -> dict[str, Any]:
    return Workload(named(render, "Deployment", name)).container


def variable(render: Render, workload: str, old: str, **new: Any) -> dict[str, Any]:
    """Change an entry of a workload's environment."""
    changed = entry(container(render, workload), old)
    changed |= new
    return changed


def entry(container: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in container["env"] if one["name"] == name)
    return found


def trigger(render: Render, name: str) -> dict[str, Any]:
    found: dict[str, Any] = named(render, "ScaledObject", name)["spec"]["triggers"][0]["metadata"]
    return found


def without(objects: list[Any], wanted: Callable[[Any], bool]) -> None:
    objects[:] = [one for one in objects if not wanted(one)]


def settings(render: Render, old: str, new: str) -> None:
    data = named(render, "ConfigMap", "settings")["data"]
    assert old in data["settings.yaml"]
    data["settings.yaml"] = data["settings.yaml"].replace(old, new)


DAMAGES: dict[str, tuple[Rule, Callable[[Render], object], str]] = {
    "a field of a probe": (
        schema_findings,
        lambda r: container(r, "gateway")["livenessProbe"].update(periodSecond=3),
        "periodSecond",
    ),
    "a number as text": (
        schema_findings,
        lambda r: named(r, "HorizontalPodAutoscaler", "gateway")["spec"].update(maxReplicas="12"),
        "/spec/maxReplicas",
    ),
    "a field of KEDA's": (
        schema_findings,
        lambda r: named(r, "ScaledObject", "node-asr")["spec"].update(coolDownPeriod=3),
        "coolDownPeriod",
    ),
    "a usage of a certificate": (
        schema_findings,
        lambda r: named(r, "Certificate", "gateway")["spec"].update(usages=["server"]),
        "/spec/usages/0",
    ),
    "an unknown kind": (schema_findings, lambda r: named(r, "Service", "gateway").update(kind="Servce"), "Servce"),
    "a setting's name": (
        name_findings,
        lambda r: variable(r, "scheduler", "YIVIDEO_SCHEDULER__HAND_BACK_SECONDS", name="YIVIDEO_SCHEDULER__HAND_BACK"),
        "HAND_BACK",
    ),
    "a setting of another process": (
        name_findings,
        lambda r: variable(r, "gateway", "YIVIDEO_GATEWAY__LISTEN", name="YIVIDEO_NODE__SLOTS"),
        "reads no section node",
    ),
    "a setting's value": (
        name_findings,
        lambda r: variable(r, "node-asr", "YIVIDEO_RUNTIME__DRAIN_SECONDS", value="long"),
        "drain_seconds",
    ),
    "a variable that nobody reads": (
        name_findings,
        lambda r: variable(r, "gateway", "HOME", name="GATEWAY_HOME"),
        "GATEWAY_HOME",
    ),
    "a name in the settings file": (name_findings, lambda r: settings(r, "max_wait_time", "max_wait"), "max_wait"),
    "a section of the settings file": (name_findings, lambda r: settings(r, "gpulock:", "gpulocks:"), "gpulocks"),
    "a service's name": (
        name_findings,
        lambda r: variable(r, "gateway", "YIVIDEO_GATEWAY__SCHEDULER_ADDRESS", value="dns:///schedulers:7801"),
        "no Service schedulers",
    ),
    "a service's port": (
        name_findings,
        lambda r: variable(r, "gateway", "YIVIDEO_GATEWAY__SCHEDULER_ADDRESS", value="dns:///scheduler:7802"),
        "no port 7802",
    ),
    "a headless service that translates": (
        name_findings,
        lambda r: (
            named(r, "Service", "filestore")["spec"]["ports"][0].update(port=80),
            variable(r, "gateway", "YIVIDEO_GATEWAY__FILESTORE_ADDRESS", value="dns:///filestore:80"),
        ),
        "do not listen on 80",
    ),
    "a probe's port": (
        name_findings,
        lambda r: container(r, "scheduler")["livenessProbe"]["grpc"].update(port=7881),
        "no port 7881",
    ),
    "a module": (name_findings, lambda r: container(r, "node-ocr").update(args=["services.ocrr"]), "services.ocrr"),
    "an image": (name_findings, lambda r: container(r, "node-ocr").update(image="yivideo-core:1"), "yivideo-light"),
    "an image's version": (
        name_findings,
        lambda r: container(r, "node-ocr").update(image="yivideo-light:9.9.9"),
        "what is here is",
    ),
    "a node that the scheduler is not told of": (
        name_findings,
        lambda r: variable(
            r, "scheduler", "YIVIDEO_SCHEDULER__NODES", value='[{"node": "ffmpeg", "addresses": ["node-ffmpeg:7810"]}]'
        ),
        "paddleocr",
    ),
    "slots that are not the table's": (
        name_findings,
        lambda r: variable(r, "node-llm", "YIVIDEO_NODE__SLOTS", value="3"),
        "other slots",
    ),
    "a scaled node's name": (name_findings, lambda r: trigger(r, "node-asr").update(node="asr"), "faster_whisper, not asr"),
    "a node that KEDA forgot": (
        name_findings,
        lambda r: without(r.objects, lambda one: one["kind"] == "ScaledObject" and one["metadata"]["name"] == "node-tts"),
        "is scaled by 0 ScaledObjects",
    ),
    "a key of KEDA's trigger": (
        name_findings,
        lambda r: trigger(r, "node-asr").update(tasksPerPod="1"),
        "reads no tasksPerPod",
    ),
    "replicas beside a ScaledObject": (
        name_findings,
        lambda r: named(r, "Deployment", "node-asr")["spec"].update(replicas=1),
        "set it back",
    ),
    "a path on the read-only root": (
        name_findings,
        lambda r: variable(r, "node-asr", "YIVIDEO_NODE__WORK_ROOT", value="/work"),
        "/work is on no volume",
    ),
    "a file of a certificate": (
        name_findings,
        lambda r: variable(r, "gateway", "YIVIDEO_RUNTIME__TLS__AUTHORITY", value="/etc/yivideo-tls/ca.pem"),
        "ca.pem",
    ),
    "a secret that nobody makes": (
        name_findings,
        lambda r: variable(r, "gateway", "YIVIDEO_RUNTIME__TOKEN", valueFrom={"secretKeyRef": {"name": "yivideo", "key": "tok"}}),
        "no key tok",
    ),
    "a monitor's port": (
        name_findings,
        lambda r: named(r, "PodMonitor", "yivideo-nodes")["spec"]["podMetricsEndpoints"][0].update(port="metric"),
        "port metric",
    ),
    "a way in": (
        name_findings,
        lambda r: named(r, "Ingress", "gateway")["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]["port"].update(
            name="http"
        ),
        "leads to nothing",
    ),
    "a writable root": (
        hardening_findings,
        lambda r: container(r, "node-asr")["securityContext"].update(readOnlyRootFilesystem=False),
        "readOnlyRootFilesystem",
    ),
    "a token of the API server": (
        hardening_findings,
        lambda r: named(r, "Deployment", "gateway")["spec"]["template"]["spec"].update(automountServiceAccountToken=True),
        "automountServiceAccountToken",
    ),
    "no limit": (hardening_findings, lambda r: container(r, "gpulock")["resources"]["limits"].pop("memory"), "limits of memory"),
    "one probe for all": (
        hardening_findings,
        lambda r: container(r, "scheduler").update(livenessProbe=container(r, "scheduler")["readinessProbe"]),
        "ask the same",
    ),
    "no budget": (
        hardening_findings,
        lambda r: without(r.objects, lambda one: one["kind"] == "PodDisruptionBudget" and one["metadata"]["name"] == "gpulock"),
        "0 disruption budgets",
    ),
    "a kill in the middle of a drain": (
        hardening_findings,
        lambda r: variable(r, "node-asr", "YIVIDEO_RUNTIME__DRAIN_SECONDS", value="600"),
        "terminationGracePeriodSeconds is 570 s",
    ),
    "a filestore that leaves before its nodes": (
        hardening_findings,
        lambda r: container(r, "filestore")["lifecycle"]["preStop"]["sleep"].update(seconds=5),
        "preStop is 5 s",
    ),
    "a secret among the manifests": (
        hardening_findings,
        lambda r: r.objects.append({"kind": "Secret", "metadata": {"name": "yivideo"}}),
        "secrets are referred to",
    ),
    "a namespace that goes with its processes": (
        hardening_findings,
        lambda r: r.objects.append({"kind": "Namespace", "metadata": {"name": "yivideo"}}),
        "would delete the volumes in it",
    ),
    "an arrow open at one end": (
        arrow_findings,
        lambda r: named(r, "NetworkPolicy", "gpulock")["spec"].update(ingress=[]),
        "gateway -> gpulock:7803 is let out and not in",
    ),
    "a rule for everybody": (
        arrow_findings,
        lambda r: named(r, "NetworkPolicy", "nodes")["spec"]["ingress"][0].pop("from"),
        "allows everything",
    ),
    "nothing denied": (
        arrow_findings,
        lambda r: without(r.objects, lambda one: one["metadata"]["name"] == "default-deny"),
        "nothing denies",
    ),
    "a store elsewhere behind a closed port": (
        outside_findings,
        lambda r: settings(r, "s3.example.com:443", "s3.example.com:9000"),
        "node-ocr is not let out to the S3's port 9000",
    ),
    "a pool without cards": (
        name_findings,
        lambda r: settings(r, "pool: none", "pool: cards"),
        "asks in the pool default",
    ),
    "no time to stop": (
        hardening_findings,
        lambda r: named(r, "Deployment", "node-asr")["spec"]["template"]["spec"].pop("terminationGracePeriodSeconds"),
        "terminationGracePeriodSeconds is 30 s",
    ),
    "an arrow's port": (
        port_findings,
        lambda r: named(r, "NetworkPolicy", "filestore")["spec"]["ingress"][0]["ports"][0].update(port=7809),
        "no such port",
    ),
}  # fmt: skip


def test_a_secret_is_not_read_for_paths(production: Render, monkeypatch: pytest.MonkeyPatch) -> None:
    """One in a hundred random secrets has `+/` in it, and what follows looked like a path on no volume."""
    drawn = {**secret_values(), "callback-secrets": '["whsec_AAAA+/BBBB"]'}
    monkeypatch.setattr("tests.deploy.manifests.secret_values", lambda: drawn)
    assert [str(finding) for finding in name_findings(production)] == []


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_wrong_is_found(production: Render, damage: str) -> None:
    """One damage, one finding at least that names it; the whole has none."""
    rule, break_it, told = DAMAGES[damage]
    broken = Render("broken", copy.deepcopy(production.objects))
    break_it(broken)
    if rule is schema_findings:  # the rest is valid, and takes seconds
        broken.objects[:] = [
            one for one, whole in zip(broken.objects, production.objects, strict=True) if one != whole
        ]
    found = [str(finding) for finding in rule(broken)]
    assert any(told in finding for finding in found), found


@pytest.mark.parametrize("rule", RULES)
def test_nothing_is_wrong_with_production(production: Render, rule: Rule) -> None:
    """The overlay as it is breaks no law."""
    assert [str(finding) for finding in rule(production)] == []
