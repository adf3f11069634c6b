"""Names of figures: those that processes serve, and those that rules and panels ask for."""

from __future__ import annotations

import re
from collections.abc import Iterator

from deploy.monitoring.names import SCRAPED, series_named
from tests.deploy.manifests import Render, title

_TYPE = re.compile(r"^# TYPE (\S+) (\w+)$", re.MULTILINE)


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
    """Yield each rule's title with the figures that its expression names; not other rules' own, and not what Prometheus makes."""
    for one in render.of("PrometheusRule"):
        rules = [rule for group in one["spec"]["groups"] for rule in group["rules"]]
        recorded = {rule["record"] for rule in rules if "record" in rule}
        for rule in rules:
            named = series_named(str(rule["expr"])) - recorded - SCRAPED.keys()
            yield f"{title(one)} {rule.get('alert', rule.get('record'))}", named
