"""deploy/k8s/README.md: what it names is there, what is there it names."""

from __future__ import annotations

import re

import pytest

from tests.deploy.kustomize import K8S

README = (K8S / "README.md").read_text(encoding="utf-8")


def folders(kind: str) -> set[str]:
    """The names of all overlays or components."""
    return {path.parent.name for path in K8S.glob(f"{kind}/*/kustomization.yaml")}


def test_every_component_has_its_row_and_is_rendered() -> None:
    """A component that the page or the check forgot would be nobody's."""
    pytest.importorskip("kubernetes_validate", reason="`make check-deploy` installs it")
    from tests.deploy.__main__ import COMBINATIONS

    table = README.partition("| component |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `([\w-]+)` \|", table, re.MULTILINE)) == folders("components")
    assert {name for names in COMBINATIONS for name in names} == folders("components")


def test_every_overlay_is_deployed_by_a_command() -> None:
    """The page has the command for each, and for no other."""
    assert set(re.findall(r"kubectl apply -k deploy/k8s/overlays/(\S+)", README)) == folders("overlays")


def test_files_that_are_named_exist() -> None:
    """Links of the page lead somewhere."""
    missing = [
        to
        for to in re.findall(r"\]\(([^)#]+)\)", README)
        if not to.startswith("http") and not (K8S / to).exists()
    ]
    assert missing == []
