"""Who may speak to whom: the arrows that NetworkPolicies allow, at their beginning and at their end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from filestore.settings import FilestoreSettings
from runtime.settings import SettingsError
from tests.deploy.finding import Finding, invalid
from tests.deploy.loading import settings_of
from tests.deploy.manifests import Render, selects, title

Arrow = tuple[str, str, int]
"""From which workload to which, and to what port."""


def arrows(render: Render) -> set[Arrow]:
    """Return the arrows between workloads that policies let out and in."""
    return _allowed(render, "egress") & _allowed(render, "ingress")


def arrow_findings(render: Render) -> Iterator[Finding]:
    """Yield arrows that are open at one end alone, ports that nobody has, and what `default-deny` leaves out."""
    policies = list(render.of("NetworkPolicy"))
    if not policies:
        return
    where = f"{render.name}: network policy"
    out, into = _allowed(render, "egress"), _allowed(render, "ingress")
    yield from (invalid(where, f"{_told(arrow)} is let out and not in") for arrow in sorted(out - into))
    yield from (invalid(where, f"{_told(arrow)} is let in and not out") for arrow in sorted(into - out))
    denied = [one for one in policies if one["spec"]["podSelector"] == {} and "ingress" not in one["spec"]]
    if not any(set(one["spec"]["policyTypes"]) == {"Ingress", "Egress"} for one in denied):
        yield invalid(where, "nothing denies by default")
    for one in policies:
        for kind, end in (("ingress", "from"), ("egress", "to")):
            for rule in one["spec"].get(kind, []):
                if not rule.get(end) or not rule.get("ports"):
                    yield invalid(
                        f"{render.name}: {title(one)}",
                        f"{kind}: a rule without `{end}` or ports allows everything",
                    )


def outside_findings(render: Render) -> Iterator[Finding]:
    """Yield the S3 elsewhere whose port no policy lets anybody out to: every upload would wait for it and fail."""
    filestore = render.workload("filestore")
    if filestore is None or render.workload("s3") is not None or not any(render.of("NetworkPolicy")):
        return
    try:
        section = settings_of(filestore, render, FilestoreSettings).filestore
    except SettingsError:
        return  # told already
    if section.backend != "s3" or section.s3 is None:
        return
    _, colon, port = section.s3.endpoint.rpartition(":")
    wanted = int(port) if colon else 443 if section.s3.secure else 80
    for user in ("filestore", "gateway", *(node.name for node in render.nodes)):
        open_to = {
            int(one["port"])
            for policy in render.of("NetworkPolicy")
            if any(chosen.name == user for chosen in render.selected(policy["spec"]["podSelector"]))
            for rule in policy["spec"].get("egress", [])
            if any("ipBlock" in peer and "except" not in peer["ipBlock"] for peer in rule.get("to", []))
            for one in rule["ports"]
        }
        if wanted not in open_to:
            yield invalid(
                f"{render.name}: network policy", f"{user} is not let out to the S3's port {wanted}"
            )


def _allowed(render: Render, kind: str) -> set[Arrow]:
    end = "to" if kind == "egress" else "from"
    found = set()
    for policy in render.of("NetworkPolicy"):
        here = render.selected(policy["spec"]["podSelector"])
        for rule in policy["spec"].get(kind, []):
            others = [
                workload
                for peer in rule.get(end, [])
                # Of another namespace: its pods are not here.
                if "podSelector" in peer and "namespaceSelector" not in peer
                for workload in render.workloads
                if selects(peer["podSelector"], workload.labels)
            ]
            for own in here:
                for other in others:
                    first, last = (own, other) if kind == "egress" else (other, own)
                    found |= {(first.name, last.name, port) for port in _ports(rule, last)}
    return found


def _ports(rule: dict[str, Any], target: Any) -> list[int]:
    """The numbers of a rule's ports at a target; one that it does not have is kept, so that it can be told."""
    return [target.port(one["port"]) or int(one["port"]) for one in rule.get("ports", [])]


def port_findings(render: Render) -> Iterator[Finding]:
    """Yield arrows to ports that their target does not have."""
    for arrow in sorted(_allowed(render, "egress") | _allowed(render, "ingress")):
        target = render.workload(arrow[1])
        if target is not None and arrow[2] not in target.ports.values():
            yield invalid(f"{render.name}: network policy", f"{_told(arrow)}: there is no such port")


def _told(arrow: Arrow) -> str:
    return f"{arrow[0]} -> {arrow[1]}:{arrow[2]}"
