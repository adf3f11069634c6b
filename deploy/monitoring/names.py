"""Which series and labels dashboards and rules speak of, and which there are."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import yaml
from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase

from deploy.monitoring.__main__ import ALERTS
from deploy.monitoring.boards import DASHBOARDS

METRIC_MODULES = (
    "runtime.metrics", "scheduler.metrics", "gpulock.metrics", "filestore.metrics", "nodekit.metrics", "nodekit.gpu.metrics",
    "redislink.figures", "gateway.http.observe", "gateway.http.sse", "gateway.clients.file_bytes",
    "services.asr.figures", "language_models.metrics",
)  # fmt: skip
"""Where the processes' series are made; imported for their labels."""
SCRAPED = {"up": frozenset({"job", "instance", "part"})}
"""Series that Prometheus makes by itself."""
TARGET_LABELS = frozenset({"job", "instance", "part", "le", "pod", "namespace"})
"""Labels that come of a scrape, or of every histogram."""

_METRIC = re.compile(r"\b(up|(?:yivideo|grpc_server)_[a-z0-9_]+)\b(?:\{([^}]*)\})?")
_NO_SERIES = re.compile(
    r'"[^"]*"|\{[^}]*\}|\[[^]]*\]|\$\w+|\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)|\b[a-z_]\w*(?=\s*\()'
)
"""Parts of an expression that name no series: texts, choices by label, times, variables, labels, functions."""
_WORDS = frozenset({
    "and", "or", "unless", "bool", "offset", "inf", "nan", "sum", "max", "min", "avg", "count", "group", "stddev", "stdvar",
    "topk", "bottomk", "quantile", "count_values",
})  # fmt: skip
"""Operators, and aggregations, which may have their labels before their brackets."""
_LABEL = re.compile(r"([a-z_]+)\s*(?:=~|!~|!=|=)")
_GROUPED = re.compile(r"\b(?:by|on)\s*\(([^)]*)\)")


@dataclass(frozen=True)
class Spoken:
    """One expression, and where it stands."""

    where: str
    expr: str

    def metrics(self) -> Iterator[tuple[str, frozenset[str]]]:
        """Yield each series with the labels that it is chosen by."""
        for name, chosen in _METRIC.findall(self.expr):
            yield name, frozenset(_LABEL.findall(re.sub(r'"[^"]*"', '""', chosen)))

    def groupings(self) -> frozenset[str]:
        """Return the labels that series are summed or matched by."""
        return frozenset(
            label.strip()
            for part in _GROUPED.findall(self.expr)
            for label in part.split(",")
            if label.strip()
        )


def series_named(expr: str) -> set[str]:
    """Return every series that an expression names, whatever it is called: also one whose name is misspelt at its beginning."""
    return set(re.findall(r"\b[a-zA-Z_:][\w:]*", _NO_SERIES.sub(" ", expr))) - _WORDS


def rules() -> list[dict[str, object]]:
    """Return the alerts."""
    groups = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def spoken() -> Iterator[Spoken]:
    """Yield every expression of every rule, panel and variable."""
    for rule in rules():
        yield Spoken(f"alert {rule['alert']}", str(rule["expr"]))
    for board in DASHBOARDS:
        for row in board.rows:
            for panel in row.panels:
                for query in panel.queries:
                    yield Spoken(f"{board.uid}: {panel.title}", query.expr)
        for variable in board.variables:
            yield Spoken(f"{board.uid}: ${variable.name}", f'{variable.metric}{{{variable.label}="x"}}')


def known_labels() -> dict[str, frozenset[str]]:
    """Return each series that the code makes, with its labels."""
    for module in METRIC_MODULES:
        importlib.import_module(module)
    found = dict(SCRAPED)
    for metric in set(REGISTRY._collector_to_names):
        if isinstance(metric, MetricWrapperBase):
            for name in REGISTRY._collector_to_names[metric]:
                found[name] = frozenset(metric._labelnames)
    return found


def unknown(there: Iterable[str]) -> list[str]:
    """Return what names a series that is not `there`."""
    names = set(there) | SCRAPED.keys()
    return sorted({f"{one.where}: {name}" for one in spoken() for name in series_named(one.expr) - names})


def wrong_labels() -> list[str]:
    """Return what chooses, sums or matches by a label that its series have not."""
    labels = known_labels()
    wrong = []
    for one in spoken():
        had: frozenset[str] = TARGET_LABELS
        for name, chosen in one.metrics():
            its = labels.get(name, frozenset()) | TARGET_LABELS
            had |= its
            wrong += [f"{one.where}: {name} has no label {label}" for label in chosen - its]
        wrong += [f"{one.where}: nothing in it has a label {label}" for label in one.groupings() - had]
    return sorted(wrong)


def exposed(text: str) -> set[str]:
    """Return the series that a /metrics page offers, those without a value yet among them."""
    found: set[str] = set()
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE):
        found.add(name)
        if kind == "histogram":
            found |= {f"{name}_bucket", f"{name}_sum", f"{name}_count"}
    return found
