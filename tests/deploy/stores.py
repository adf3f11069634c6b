"""Stores that run here: what their scripts read and what they are given, and the names that sentinels know a Redis by."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from tests.deploy.finding import Finding, not_in_code
from tests.deploy.manifests import Render, Workload

_READ_BY_PROGRAMS = frozenset({"REDISCLI_AUTH"})
"""redis-cli's."""


def store_findings(render: Render) -> Iterator[Finding]:
    """Yield variables that a store's script reads and nobody sets, or the other way round, and groups that no sentinel watches."""
    stores = [workload for workload in render.workloads if not workload.module]
    for store in stores:
        where = f"{render.name}: {store.where}"
        given = set(store.environment())
        read = set(re.findall(r"\$\{?([A-Z][A-Z0-9_]*)", _script(render, store)))
        yield from (
            not_in_code(where, f"its script reads {name}, which nobody sets") for name in sorted(read - given)
        )
        yield from (
            not_in_code(where, f"{name}: its script does not read it")
            for name in sorted(given - read - _READ_BY_PROGRAMS)
        )
    sentinel = render.workload("sentinel")
    if sentinel is None:
        return
    watched = re.search(r"^\s*for pair in (.+); do$", _script(render, sentinel), re.MULTILINE)
    groups = dict(pair.split("=") for pair in watched[1].split()) if watched else {}
    for store in stores:
        group, service = (store.environment().get(name) for name in ("GROUP", "SERVICE"))
        if group is not None and groups.get(group) != service:
            yield not_in_code(f"{render.name}: {store.where}", f"no sentinel watches {group} at {service}")
    for workload in render.ours:
        for name, value in workload.environment().items():
            if "+sentinel://" in value:
                group = urlsplit(value).path.split("/")[1]
                if group not in groups:
                    yield not_in_code(
                        f"{render.name}: {workload.where}", f"{name}: no sentinel knows {group}"
                    )


def _script(render: Render, workload: Workload) -> str:
    """What its container's shell reads: arguments, and scripts of the ConfigMaps that are mounted."""
    mounted = {
        volume["configMap"]["name"] for volume in workload.pod.get("volumes", []) if "configMap" in volume
    }
    texts = [
        text
        for one in render.of("ConfigMap")
        if one["metadata"]["name"] in mounted
        for file, text in one["data"].items()
        if file.endswith(".sh")
    ]
    return "\n".join([*map(str, workload.container.get("args", [])), *texts])
