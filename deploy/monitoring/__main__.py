"""`python -m deploy.monitoring`: writes the dashboards as JSON and the rules as Kubernetes' PrometheusRule, beside this file."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from deploy.monitoring.boards import DASHBOARDS

HERE = Path(__file__).resolve().parent
ALERTS = HERE / "alerts.yaml"
_HEAD = "# Made of alerts.yaml by `python -m deploy.monitoring`, for the Prometheus operator.\n"


def written() -> dict[Path, str]:
    """Return what the files must hold."""
    files = {
        HERE / "dashboards" / f"{one.uid}.json": json.dumps(one.to_json(), indent=1, ensure_ascii=False)
        + "\n"
        for one in DASHBOARDS
    }
    rule = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "yivideo", "labels": {"app.kubernetes.io/part-of": "yivideo"}},
        "spec": yaml.safe_load(ALERTS.read_text(encoding="utf-8")),
    }
    files[HERE / "prometheus-rule.yaml"] = _HEAD + yaml.safe_dump(rule, sort_keys=False, width=120)
    return files


def main() -> None:
    """Write them; what is no dashboard any more goes."""
    files = written()
    for path in (HERE / "dashboards").glob("*.json"):
        if path not in files:
            path.unlink()
    for path, text in files.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
