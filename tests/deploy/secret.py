"""The Secret that deploy/k8s/secrets.sh makes: the one that the manifests refer to."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from functools import cache

import yaml

from tests.deploy.kustomize import K8S

NAME = "yivideo"


@cache
def _made() -> tuple[Mapping[str, str], str]:
    script = [str(K8S / "secrets.sh"), "checker"]
    told = subprocess.run(script, check=True, capture_output=True, text=True, timeout=30)
    return yaml.safe_load(told.stdout)["stringData"], told.stderr.rsplit(maxsplit=1)[-1]


def secret_values() -> Mapping[str, str]:
    """Return its keys with their values, the same ones within a process."""
    return _made()[0]


def api_key() -> str:
    """Return the key of a client that the gateway then knows."""
    return _made()[1]
