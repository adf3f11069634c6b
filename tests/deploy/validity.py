"""Schemas: Kubernetes' own, strictly, of two releases; those of operators by the fields that we use, in `schemas/`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import kubernetes_validate

from tests.deploy.finding import Finding, invalid
from tests.deploy.manifests import Render, title

VERSIONS = ("1.30", "1.36")
"""The oldest release that these manifests are for (`preStop.sleep` and gRPC probes are on by default), and a new one."""

SCHEMAS = Path(__file__).resolve().parent / "schemas"


@cache
def _operators() -> dict[tuple[str, str], Any]:
    """Return the validators of operators' objects by apiVersion and kind."""
    found = {}
    for path in SCHEMAS.glob("*.json"):
        schema = json.loads(path.read_text())
        made = schema["properties"]
        found[made["apiVersion"]["const"], made["kind"]["const"]] = jsonschema_rs.validator_for(schema)
    return found


def schema_findings(render: Render) -> Iterator[Finding]:
    """Yield what a schema refuses, and objects that no schema is there for."""
    for one in render.objects:
        yield from (
            invalid(f"{render.name}: {title(one)}", what) for what in _faults(json.dumps(one, sort_keys=True))
        )


@cache
def _faults(text: str) -> tuple[str, ...]:
    """Return what is wrong with an object; most renders have most objects in common, and a schema of Kubernetes is megabytes."""
    one = json.loads(text)
    validator = _operators().get((one.get("apiVersion", ""), one.get("kind", "")))
    if validator is not None:
        return tuple(
            f"{_pointer(error.instance_path)}: {error.message}" for error in validator.iter_errors(one)
        )
    found = []
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(one, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            found.append(f"Kubernetes {version}: {_pointer(error.path)}: {error.message}")
        except kubernetes_validate.SchemaNotFoundError as error:
            found.append(str(error.message))
    return tuple(found)


def _pointer(path: Any) -> str:
    return "/" + "/".join(map(str, path))
