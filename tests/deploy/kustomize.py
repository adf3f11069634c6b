"""Renders: overlays, and the base with components that nobody made an overlay of."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
K8S = ROOT / "deploy" / "k8s"
_OWN = ROOT / "tools" / "kubectl" / "bin" / "kubectl"
_LEAST_VERSION = 5

Objects = list[dict[str, Any]]


class CannotRender(Exception):
    """kustomize refused; its own words."""


def find_kubectl() -> str | None:
    """Return a kubectl whose kustomize knows components, None where the machine has none."""
    for program in (str(_OWN), shutil.which("kubectl")):
        if program is None or not os.access(program, os.X_OK):
            continue
        told = subprocess.run([program, "version", "--client"], capture_output=True, text=True, timeout=30)
        version = re.search(r"^Kustomize Version: v(\d+)\.", told.stdout, re.MULTILINE)
        if version and int(version[1]) >= _LEAST_VERSION:
            return program
    return None


def render(kubectl: str, folder: Path) -> Objects:
    """Return the objects of a kustomization. Raises CannotRender."""
    made = subprocess.run([kubectl, "kustomize", str(folder)], capture_output=True, text=True, timeout=60)
    if made.returncode:
        raise CannotRender(made.stderr.strip())
    return [one for one in yaml.safe_load_all(made.stdout) if one]


def render_components(kubectl: str, components: Sequence[str]) -> Objects:
    """Return the objects of the base with these components, in this order. Raises CannotRender."""
    with tempfile.TemporaryDirectory(prefix="yivideo-kustomize-") as folder:
        # kustomize takes relative paths alone, and follows no link on the way.
        above = os.path.relpath(K8S.resolve(), Path(folder).resolve())
        kustomization = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "namespace": "yivideo",
            "resources": [f"{above}/base"],
            "components": [f"{above}/components/{name}" for name in components],
        }
        (Path(folder) / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
        return render(kubectl, Path(folder))
