"""What dashboards are made of: panels on a grid, in the form that Grafana imports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

_DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
_WIDTH = 24
_ROW_HEIGHT, _PANEL_HEIGHT = 1, 8


@dataclass(frozen=True)
class Query:
    """One PromQL expression and how its series are called."""

    expr: str
    legend: str = ""


@dataclass(frozen=True)
class Panel:
    """One picture."""

    title: str
    queries: Sequence[Query]
    unit: str = "short"
    """Grafana's unit: s, bytes, ops, percentunit, …"""
    kind: str = "timeseries"
    about: str = ""
    """What a reader should know; shown behind the (i)."""
    stacked: bool = False

    def to_json(self, number: int, x: int, y: int, width: int) -> Json:
        """Write it as Grafana's JSON at a place on the grid."""
        custom: Json = {"fillOpacity": 10, "showPoints": "never"}
        if self.stacked:
            custom |= {"fillOpacity": 40, "stacking": {"mode": "normal", "group": "A"}}
        options: Json = (
            {
                "legend": {"displayMode": "list", "placement": "bottom"},
                "tooltip": {"mode": "multi", "sort": "desc"},
            }
            if self.kind == "timeseries"
            else {"reduceOptions": {"calcs": ["lastNotNull"]}, "textMode": "auto"}
        )
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.about,
            "datasource": _DATASOURCE,
            "gridPos": {"h": _PANEL_HEIGHT, "w": width, "x": x, "y": y},
            "fieldConfig": {
                "defaults": {"unit": self.unit, "min": 0, "custom": custom if self.kind == "timeseries" else {}},
                "overrides": [],
            },
            "options": options,
            "targets": [
                {"refId": chr(ord("A") + at), "expr": query.expr, "legendFormat": query.legend, "datasource": _DATASOURCE}
                for at, query in enumerate(self.queries)
            ],
        }  # fmt: skip


@dataclass(frozen=True)
class Row:
    """Panels side by side under a title."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Variable:
    """A list that the reader picks from: the values of a label."""

    name: str
    metric: str
    label: str

    def to_json(self) -> Json:
        """Write it as Grafana's JSON."""
        query = f"label_values({self.metric}, {self.label})"
        return {
            "name": self.name,
            "label": self.name.replace("_", " "),
            "type": "query",
            "datasource": _DATASOURCE,
            "definition": query,
            "query": {"query": query, "refId": "V"},
            "refresh": 2,
            "sort": 1,
            "includeAll": False,
            "multi": False,
        }


@dataclass(frozen=True)
class Dashboard:
    """One page."""

    uid: str
    title: str
    about: str
    rows: Sequence[Row]
    variables: Sequence[Variable] = field(default=())

    def to_json(self) -> Json:
        """Write it as Grafana's JSON."""
        panels: list[Json] = []
        y, number = 0, 1
        for row in self.rows:
            panels.append(
                {"id": number, "type": "row", "title": row.title, "collapsed": False, "panels": [],
                 "gridPos": {"h": _ROW_HEIGHT, "w": _WIDTH, "x": 0, "y": y}}
            )  # fmt: skip
            y, number = y + _ROW_HEIGHT, number + 1
            width = _WIDTH // len(row.panels)
            for at, panel in enumerate(row.panels):
                panels.append(panel.to_json(number, at * width, y, width))
                number += 1
            y += _PANEL_HEIGHT
        source = {"name": "datasource", "label": "data source", "type": "datasource", "query": "prometheus"}
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.about,
            "tags": ["yivideo"],
            "schemaVersion": 39,
            "timezone": "browser",
            "refresh": "30s",
            "time": {"from": "now-6h", "to": "now"},
            "templating": {"list": [source, *(one.to_json() for one in self.variables)]},
            "links": [
                {"type": "dashboards", "tags": ["yivideo"], "title": "YiVideo", "asDropdown": True, "keepTime": True}
            ],
            "panels": panels,
        }  # fmt: skip


def rate(metric: str, by: str = "", where: str = "") -> str:
    """Return a counter's rate, summed over processes."""
    chosen = f"{metric}{{{where}}}" if where else metric
    grouped = f" by ({by})" if by else ""
    return f"sum{grouped} (rate({chosen}[$__rate_interval]))"


def quantile(share: float, histogram: str, by: str = "", where: str = "") -> str:
    """Return a quantile of a histogram over all processes."""
    chosen = f"{histogram}_bucket{{{where}}}" if where else f"{histogram}_bucket"
    labels = f"{by}, le" if by else "le"
    return f"histogram_quantile({share:g}, sum by ({labels}) (rate({chosen}[$__rate_interval])))"


def median_and_tail(histogram: str, by: str = "", where: str = "") -> tuple[Query, Query]:
    """Return the median and the 95th percentile."""
    name = f"{{{{{by}}}}} " if by else ""
    return Query(quantile(0.5, histogram, by, where), f"{name}p50"), Query(
        quantile(0.95, histogram, by, where), f"{name}p95"
    )
