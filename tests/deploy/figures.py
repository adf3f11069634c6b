"""Names of figures: those that processes serve, and those that rules and panels ask for."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.deploy.manifests import Render, title

_TYPE = re.compile(r"^# TYPE (\S+) (\w+)$", re.MULTILINE)
_ASKED = re.compile(r"\b(?:yivideo|grpc_server|process|python)_\w+\b")
"""Of our processes; others' (Redis, kubelet, cert-manager) are served by those."""


def figure_names(text: str) -> set[str]:
    """Return the names that a Prometheus text has series of, or would have once something was counted."""
    found = set()
    for name, kind in _TYPE.findall(text):
        found.add(name)
        if kind == "histogram":
            found |= {f"{name}_bucket", f"{name}_sum", f"{name}_count"}
        elif kind == "summary":
            found |= {f"{name}_sum", f"{name}_count"}
    return found


def rule_figures(render: Render) -> Iterator[tuple[str, set[str]]]:
    """Yield each rule's title with the figures of ours that its expression names, other rules' own names left out."""
    for one in render.of("PrometheusRule"):
        rules = [rule for group in one["spec"]["groups"] for rule in group["rules"]]
        recorded = {rule["record"] for rule in rules if "record" in rule}
        for rule in rules:
            expression = re.sub(r"\{[^}]*\}|\b(?:by|without|on|ignoring)\s*\([^)]*\)", "", str(rule["expr"]))
            yield (
                f"{title(one)} {rule.get('alert', rule.get('record'))}",
                set(_ASKED.findall(expression)) - recorded,
            )
