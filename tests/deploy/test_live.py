"""What manifests say and running processes do not bear out is found: ports, probes, figures, KEDA's metadata, arrows."""

from __future__ import annotations

import copy
import shutil

import pytest

pytest.importorskip("kubernetes_validate", reason="`make check-deploy` installs it")

from tests.deploy.figures import figure_names, rule_figures
from tests.deploy.live import live_findings
from tests.deploy.manifests import Render, Workload

_GONE = {f"node-{name}" for name in ("subtitle", "llm", "asr", "diarize", "tts", "separate", "ocr")} | {"s3"}


def broken(embedded: Render) -> Render:
    """The embedded installation with one node, and with one name of each kind wrong."""
    objects = [one for one in copy.deepcopy(embedded.objects) if one["metadata"]["name"] not in _GONE]
    made = Render("broken", objects)
    for one in objects:
        name = one["metadata"]["name"]
        if one["kind"] == "Deployment":
            container = Workload(one).container
            if name == "gpulock":
                container["livenessProbe"]["grpc"]["service"] = "alive"
                container["ports"].append({"name": "web", "containerPort": 7899})
            if name == "gateway":
                container["startupProbe"]["httpGet"]["path"] = "/health"
        if one["kind"] == "ScaledObject":
            one["spec"]["triggers"][0]["metadata"]["node"] = "ffmpg"
        if one["kind"] == "NetworkPolicy" and name == "filestore":
            # The gateway is forgotten.
            one["spec"]["ingress"][0]["from"].pop(0)
        if one["kind"] == "NetworkPolicy" and name in ("nodes", "gpulock"):
            # An arrow that no process has.
            rule = {"ports": [{"protocol": "TCP", "port": 7810}]}
            other = "gpulock" if name == "nodes" else "node-ffmpeg"
            peer = [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": other}}}]
            way, end = ("ingress", "from") if name == "nodes" else ("egress", "to")
            one["spec"].setdefault(way, []).append(rule | {end: peer})
    objects.append(
        {
            "kind": "PrometheusRule",
            "metadata": {"name": "ours"},
            "spec": {"groups": [{"rules": [{"alert": "Late", "expr": "yivideo_queue_oldest_wait > 5"}]}]},
        }
    )
    return made


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_what_processes_do_not_bear_out_is_found(embedded: Render) -> None:
    """Each wrong name is told, and nothing else is."""
    for program in ("redis-server", "openssl", "ffmpeg"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")
    found, seen = live_findings(broken(embedded), None)
    told = {str(finding) for finding in found}
    wanted = {
        "live: Deployment gpulock: nobody listens on port 7899",
        "live: Deployment gpulock: livenessProbe does not pass",
        "live: Deployment gateway: startupProbe does not pass",
        "live: ScaledObject node-ffmpeg: the scheduler answers NOT_FOUND",
        "live: PrometheusRule ours Late: nobody serves yivideo_queue_oldest_wait",
        "live: network policy: gateway -> filestore:7802 is refused, and the processes do it",
        "live: network policy: nobody was seen to go gpulock -> node-ffmpeg:7810",
    }
    assert all(any(one.startswith(what) for one in told) for what in wanted), told
    assert [one for one in told if not any(one.startswith(what) for what in wanted)] == []
    assert ("scheduler", "node-ffmpeg", 7810) in seen


def test_figures_of_every_kind_are_known_by_their_series() -> None:
    """A histogram has buckets, sum and count; a name in a selector or a grouping is no figure; a misspelt one is."""
    served = figure_names("# TYPE yivideo_run_seconds histogram\n# TYPE yivideo_tasks_total counter\n")
    assert served == {
        "yivideo_run_seconds", "yivideo_run_seconds_bucket", "yivideo_run_seconds_sum", "yivideo_run_seconds_count",
        "yivideo_tasks_total",
    }  # fmt: skip
    expression = (
        'sum by (yivideo_node) (rate(yivideo_run_seconds_bucket{job="yivideo_x"}[5m])) > yivideo:recorded'
    )
    rule = {
        "kind": "PrometheusRule",
        "metadata": {"name": "r"},
        "spec": {
            "groups": [
                {
                    "rules": [
                        {"alert": "A", "expr": expression},
                        {"record": "yivideo:recorded", "expr": "max(yivdeo_x)"},
                    ]
                }
            ]
        },
    }
    assert list(rule_figures(Render("one", [rule]))) == [
        ("PrometheusRule r A", {"yivideo_run_seconds_bucket"}),
        ("PrometheusRule r yivideo:recorded", {"yivdeo_x"}),
    ]
