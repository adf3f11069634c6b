"""deploy/k8s/fill-models.sh: a pod that the namespace admits, out of an image that is there, with the claim that nodes read."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.hardening import restricted_faults
from tests.deploy.kustomize import K8S
from tests.deploy.manifests import Workload

POD = yaml.safe_load((K8S / "fill-models.yaml").read_text(encoding="utf-8"))
IMAGE = "registry.example.com:5000/yivideo-core:1.2.3"
KUBECTL = """#!/bin/sh
printf '%s\\n' "$*" >>"$CALLS"
case $* in *apply*) cat >"$CALLS.pod" ;; *jsonpath*) printf %s "$IMAGE" ;; *" cp "*) [ ! -e "$CALLS.refuse" ] ;; esac
"""
"""Stands for a cluster's: none is at hand. It writes down what it was asked."""


def filled(tmp_path: Path, folder: Path) -> tuple[int, list[str], Any]:
    """Run the script; gives its exit code, what kubectl was asked, and the pod that it was given."""
    (tmp_path / "bin").mkdir(exist_ok=True)
    kubectl = tmp_path / "bin/kubectl"
    kubectl.write_text(KUBECTL)
    kubectl.chmod(0o755)
    calls = tmp_path / "calls"
    calls.touch()
    environment = {"PATH": f"{kubectl.parent}:{os.environ['PATH']}", "CALLS": str(calls), "IMAGE": IMAGE}
    done = subprocess.run(
        [K8S / "fill-models.sh", folder], env=environment, capture_output=True, timeout=30, check=False
    )
    pod = tmp_path / "calls.pod"
    return (
        done.returncode,
        calls.read_text().splitlines(),
        yaml.safe_load(pod.read_text()) if pod.exists() else None,
    )


def test_models_go_into_the_claim_that_nodes_mount(tmp_path: Path) -> None:
    """The claim and the path are those of nodes, here writable; the image is the gateway's, so that the cluster has it already."""
    models = tmp_path / "models"
    models.mkdir()
    code, calls, pod = filled(tmp_path, models)
    assert code == 0
    node = yaml.safe_load((K8S / "base/common/node.yaml").read_text())["spec"]["template"]["spec"]
    (claim,) = (one["persistentVolumeClaim"] for one in node["volumes"] if one["name"] == "models")
    assert claim["readOnly"] and pod["spec"]["volumes"] == [
        {"name": "models", "persistentVolumeClaim": {"claimName": claim["claimName"]}}
    ]
    (mount,) = (one for one in node["containers"][0]["volumeMounts"] if one["name"] == "models")
    assert pod["spec"]["containers"][0]["volumeMounts"] == [
        {"name": "models", "mountPath": mount["mountPath"]}
    ]
    assert pod["spec"]["containers"][0]["image"] == IMAGE
    assert f"-n yivideo cp {models}/. fill-models:{mount['mountPath']}" in calls
    assert re.search(r"delete pod fill-models", calls[-1])


def test_the_pod_goes_also_when_nothing_could_be_copied(tmp_path: Path) -> None:
    """What failed is told by the exit code; no pod is left, and none is made for a folder that is not there."""
    models = tmp_path / "models"
    models.mkdir()
    (tmp_path / "calls.refuse").touch()
    code, calls, _ = filled(tmp_path, models)
    assert code != 0 and "delete pod fill-models" in calls[-1]
    (tmp_path / "calls").unlink()
    code, calls, _ = filled(tmp_path, tmp_path / "nowhere")
    assert code != 0 and not calls


def test_the_namespace_admits_it() -> None:
    """`restricted` pod security, bounded, and valid by Kubernetes' own schema."""
    workload = Workload({"kind": "Pod", "metadata": POD["metadata"], "spec": {"template": POD}})
    assert list(restricted_faults(workload)) == []
    assert POD["metadata"]["namespace"] == "yivideo"
    pytest.importorskip("kubernetes_validate", reason="`make check-deploy` installs it")
    from tests.deploy.manifests import Render
    from tests.deploy.validity import schema_findings

    assert [str(one) for one in schema_findings(Render("fill-models", [POD]))] == []
