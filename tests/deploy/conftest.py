"""Renders for the tests of the checker; skipped where there is no kustomize that knows components."""

from __future__ import annotations

import pytest

from tests.deploy.kustomize import K8S, find_kubectl, render, render_components
from tests.deploy.manifests import Render


@pytest.fixture(scope="session")
def kubectl() -> str:
    found = find_kubectl()
    if found is None:
        pytest.skip("no kubectl with kustomize 5 here; `make check-deploy` fetches one")
    return found


@pytest.fixture(scope="session")
def production(kubectl: str) -> Render:
    """The overlay with the most in it. Tests copy what they change."""
    return Render("production", render(kubectl, K8S / "overlays" / "production"))


@pytest.fixture(scope="session")
def sentinels(kubectl: str) -> Render:
    """Redis with sentinels."""
    return Render("sentinels", render_components(kubectl, ("sentinel", "embedded-s3")))


@pytest.fixture(scope="session")
def embedded(kubectl: str) -> Render:
    """All that one machine can run."""
    from tests.deploy.__main__ import LIVE

    return Render("live", render_components(kubectl, LIVE))
