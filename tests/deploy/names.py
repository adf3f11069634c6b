"""Names, held to the code without starting it: modules, settings, files, addresses, nodes, secrets, figures."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import yaml

from runtime import VERSION
from runtime.section_names import DELIMITER, OTHER_VARIABLES, PREFIX, SECTIONS
from runtime.settings import SettingsError
from tests.deploy.finding import Finding, invalid, not_in_code
from tests.deploy.loading import settings_classes, settings_of
from tests.deploy.manifests import Render, Workload, selects, title
from tests.deploy.node_names import node_findings, node_table
from tests.deploy.secret import NAME, secret_values

_NOT_OURS = frozenset({"HOME", "REDIS_PASSWORD", "NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES"})
"""Variables that something else than our processes reads, or that another variable is made of."""

_BROUGHT = frozenset({("sentry", "dsn")})
"""Keys of Secrets that whoever installs makes by hand; deploy/k8s/README.md says so."""

_TRIGGER_KEYS = frozenset({"scalerAddress", "node", "tasksPerReplica"})
_CERTIFICATE_FILES = frozenset({"tls.crt", "tls.key", "ca.crt"})
_ADDRESS = re.compile(r"(?<![\w.@-])(?:dns:///)?(?P<host>[a-z][a-z0-9.-]*):(?P<port>\d{1,5})\b")


def name_findings(render: Render) -> Iterator[Finding]:
    """Yield every name that nothing of the code, or nothing else here, bears."""
    for workload in render.ours:
        where = f"{render.name}: {workload.where}"
        classes = settings_classes(workload.module)
        if not classes:
            yield not_in_code(where, f"there is no module {workload.module}")
            continue
        yield from (not_in_code(where, what) for what in (*_variables(workload, classes), *_image(workload)))
        for kind in classes:
            try:
                settings_of(workload, render, kind)
            except SettingsError as error:
                yield not_in_code(where, str(error))
        yield from (
            not_in_code(where, what) for what in _addresses(render, " ".join(workload.environment().values()))
        )
    for workload in render.workloads:
        where = f"{render.name}: {workload.where}"
        yield from (invalid(where, what) for what in (*_files(workload), *_references(render, workload)))
        yield from (invalid(where, what) for what in _own_ports(workload))
    yield from _settings_file(render)
    yield from _services(render)
    yield from node_findings(render)
    yield from _scaled(render)
    yield from _monitors(render)


def _variables(workload: Workload, classes: list[Any]) -> Iterator[str]:
    sections = {name for kind in classes for name in kind.model_fields}
    for name in workload.environment():
        if not name.startswith(PREFIX):
            if name not in _NOT_OURS:
                yield f"{name}: nothing here reads it"
        elif name not in OTHER_VARIABLES:
            section = name.removeprefix(PREFIX).split(DELIMITER)[0].lower()
            if section not in sections:
                yield f"{name}: {workload.module} reads no section {section}"


def _image(workload: Workload) -> Iterator[str]:
    environments = {
        row["module"]: (row["environment"], *row.get("alternatives", ())) for row in node_table().values()
    }
    right = [f"yivideo-{name}" for name in environments.get(workload.module, ("core",))]
    image, _, tag = str(workload.container["image"]).rpartition("/")[2].partition(":")
    if image not in right:
        yield f"image {image}: {workload.module} is in {' or '.join(right)}"
    if tag not in ("", VERSION):
        yield f"image {image}:{tag}: what is here is {VERSION}"


def _files(workload: Workload) -> Iterator[str]:
    """Paths that a process is told must be on a volume: the root file system is read-only, and an image has none of them."""
    # What comes out of a Secret is no path, whatever it looks like.
    for name, value in workload.environment({}).items():
        for path in re.findall(r"(?<![\w:/.])/(?:[\w.-]+/?)+", value):
            mount = next((at for at in workload.mounts if PurePosixPath(path).is_relative_to(at)), None)
            if mount is None:
                yield f"{name}: {path} is on no volume"
                continue
            secret = workload.mounts[mount].get("secret", {}).get("secretName", "")
            if secret.endswith("-tls") and PurePosixPath(path).name not in _CERTIFICATE_FILES:
                yield f"{name}: cert-manager writes no {PurePosixPath(path).name}"


def _references(render: Render, workload: Workload) -> Iterator[str]:
    """ConfigMaps, Secrets, volumes and priorities that a pod waits for."""
    made = {(one["kind"], one["metadata"]["name"]) for one in render.objects}
    certified = {one["spec"]["secretName"] for one in render.of("Certificate")}
    for entry in workload.container.get("env", []):
        source = entry.get("valueFrom", {}).get("secretKeyRef")
        if source and (source["name"], source["key"]) in _BROUGHT:
            continue
        if source and (source["name"] != NAME or source["key"] not in secret_values()):
            yield f"{entry['name']}: secrets.sh makes no key {source['key']} of a Secret {source['name']}"
    for volume in workload.pod.get("volumes", []):
        config, claim, secret = (
            volume.get(kind) for kind in ("configMap", "persistentVolumeClaim", "secret")
        )
        if config and ("ConfigMap", config["name"]) not in made:
            yield f"volume {volume['name']}: there is no ConfigMap {config['name']}"
        if claim and ("PersistentVolumeClaim", claim["claimName"]) not in made:
            yield f"volume {volume['name']}: there is no claim {claim['claimName']}"
        for item in secret.get("items", []) if secret and secret["secretName"] == NAME else []:
            if item["key"] not in secret_values():
                yield f"volume {volume['name']}: secrets.sh makes no key {item['key']}"
        if secret and not secret.get("optional") and secret["secretName"] not in certified | {NAME}:
            yield f"volume {volume['name']}: nobody makes the Secret {secret['secretName']}"
    if ("PriorityClass", workload.pod.get("priorityClassName")) not in made:
        yield f"there is no priority class {workload.pod.get('priorityClassName')}"


def _own_ports(workload: Workload) -> Iterator[str]:
    """A probe asks a port of its own container."""
    for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
        probe = workload.container.get(kind, {})
        for how in ("grpc", "httpGet", "tcpSocket"):
            if how in probe and workload.port(probe[how]["port"]) is None:
                yield f"{kind}: the container has no port {probe[how]['port']}"


def _addresses(render: Render, text: str) -> Iterator[str]:
    """Addresses within the cluster lead to a Service here, and to a port that it has; of a headless one to the pods' own."""
    for found in _ADDRESS.finditer(text):
        host, port = found["host"].removesuffix(".yivideo.svc"), int(found["port"])
        if re.fullmatch(r"[a-z-]+-\d+\.[a-z-]+", host):  # one pod of a StatefulSet
            host = host.partition(".")[2]
        if "." in host:
            continue  # outside of the cluster
        service = render.services.get(host)
        if service is None:
            yield f"{found[0]}: there is no Service {host}"
            continue
        ports = {int(one["port"]): one["targetPort"] for one in service["spec"]["ports"]}
        if port not in ports:
            yield f"{found[0]}: Service {host} has no port {port}"
        elif service["spec"].get("clusterIP") == "None":
            for workload in render.selected({"matchLabels": service["spec"]["selector"]}):
                if workload.port(ports[port]) != port:
                    yield f"{found[0]}: {host} is headless, and its pods do not listen on {port}"


def _settings_file(render: Render) -> Iterator[Finding]:
    where = f"{render.name}: ConfigMap settings"
    given = yaml.safe_load(render.settings_text)
    read = {
        name
        for workload in render.ours
        for kind in settings_classes(workload.module)
        for name in kind.model_fields
    }
    yield from (
        not_in_code(where, f"nobody reads a section {name}") for name in given if name not in read & SECTIONS
    )
    # Addresses of what is outside need no Service; one word with a port is a Service here.
    if any(workload.name == "s3" for workload in render.workloads):
        yield from (not_in_code(where, what) for what in _addresses(render, render.settings_text))


def _services(render: Render) -> Iterator[Finding]:
    for name, service in render.services.items():
        where = f"{render.name}: Service {name}"
        chosen = render.selected({"matchLabels": service["spec"]["selector"]})
        if not chosen:
            yield invalid(where, "selects no pods")
        for port in service["spec"]["ports"]:
            for workload in chosen:
                if workload.port(port["targetPort"]) is None:
                    yield invalid(where, f"{workload.where} has no port {port['targetPort']}")
    for one in render.of("Ingress"):
        for rule in one["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                service = path["backend"]["service"]
                has = render.services.get(service["name"], {"spec": {"ports": []}})["spec"]["ports"]
                if service["port"]["name"] not in {port["name"] for port in has}:
                    yield invalid(f"{render.name}: {title(one)}", f"leads to nothing: {service}")
    for one in render.of("PodDisruptionBudget", "HorizontalPodAutoscaler"):
        spec = one["spec"]
        target = (
            render.selected(spec["selector"])
            if "selector" in spec
            else render.workload(spec["scaleTargetRef"]["name"])
        )
        if not target:
            yield invalid(f"{render.name}: {title(one)}", "is about no workload")


def _scaled(render: Render) -> Iterator[Finding]:
    """Each node has one ScaledObject where any has, by the name that the scheduler knows and with the slots of its replicas."""
    scaled = [one["spec"]["scaleTargetRef"]["name"] for one in render.of("ScaledObject")]
    for here in render.nodes if scaled else ():
        if (count := scaled.count(here.name)) != 1:
            yield invalid(f"{render.name}: {here.where}", f"is scaled by {count} ScaledObjects, not one")
    prefixes = {row["module"]: row.get("node", name) for name, row in node_table().items()}
    for one in render.of("ScaledObject"):
        where = f"{render.name}: {title(one)}"
        node = render.workload(one["spec"]["scaleTargetRef"]["name"])
        if node is None or node not in render.nodes:
            yield invalid(where, f"there is no node {one['spec']['scaleTargetRef']['name']}")
            continue
        if "replicas" in node.manifest["spec"]:
            yield invalid(
                where, f"{node.where} has a number of replicas, to which each apply would set it back"
            )
        for trigger in one["spec"]["triggers"]:
            given = trigger["metadata"]
            yield from (
                not_in_code(where, f"the scheduler reads no {key}") for key in given.keys() - _TRIGGER_KEYS
            )
            yield from (
                not_in_code(where, what) for what in _addresses(render, given.get("scalerAddress", ""))
            )
            prefix = prefixes.get(node.module)
            if given.get("node") != prefix:
                yield not_in_code(where, f"{node.where} is {prefix}, not {given.get('node')}")
            if given.get("tasksPerReplica") != node.environment().get("YIVIDEO_NODE__SLOTS"):
                yield not_in_code(where, "tasksPerReplica is not the replicas' slots")
            known = {auth["metadata"]["name"] for auth in render.of("TriggerAuthentication")}
            if "authenticationRef" in trigger and trigger["authenticationRef"]["name"] not in known:
                yield invalid(
                    where, f"there is no TriggerAuthentication {trigger['authenticationRef']['name']}"
                )


def _monitors(render: Render) -> Iterator[Finding]:
    for one in render.of("ServiceMonitor"):
        chosen = [
            service
            for service in render.of("Service")
            if selects(one["spec"]["selector"], service["metadata"].get("labels", {}))
        ]
        ports = [{port["name"] for port in service["spec"]["ports"]} for service in chosen]
        yield from _monitored(f"{render.name}: {title(one)}", one["spec"]["endpoints"], ports)
    for one in render.of("PodMonitor"):
        ports = [set(workload.ports) for workload in render.selected(one["spec"]["selector"])]
        yield from _monitored(f"{render.name}: {title(one)}", one["spec"]["podMetricsEndpoints"], ports)


def _monitored(where: str, endpoints: list[dict[str, Any]], ports: list[set[str]]) -> Iterator[Finding]:
    if not ports:
        yield invalid(where, "looks at nothing")
    for endpoint in endpoints:
        if any(endpoint["port"] not in names for names in ports):
            yield invalid(where, f"not all that it looks at have a port {endpoint['port']}")
