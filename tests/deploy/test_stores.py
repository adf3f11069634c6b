"""What is wrong with stores that run here is found: their scripts, their sentinels, their hosts."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("kubernetes_validate", reason="`make check-deploy` installs it")

from tests.deploy.hardening import hardening_findings
from tests.deploy.manifests import Render, Workload
from tests.deploy.stores import store_findings
from tests.deploy.test_checker import entry, named, variable, without

pytestmark = pytest.mark.slow


DAMAGES: dict[str, tuple[Callable[[Render], object], str]] = {
    "a group's name in an address": (
        lambda r: variable(
            r, "scheduler", "YIVIDEO_SCHEDULER__REDIS_URL", value="redis+sentinel://:p@sentinel-0.sentinel.yivideo.svc:26379/tusks/0"
        ),
        "no sentinel knows tusks",
    ),
    "a group's name at its store": (
        lambda r: entry(store(r, "redis"), "GROUP").update(value="leases"),
        "no sentinel watches leases at redis",
    ),
    "a variable that its script does not read": (
        lambda r: entry(store(r, "redis"), "GROUP").update(name="GRUP"),
        "GRUP: its script does not read it",
    ),
    "a variable that its script lacks": (
        lambda r: without(store(r, "lease-redis")["env"], lambda one: one["name"] == "SERVICE"),
        "its script reads SERVICE, which nobody sets",
    ),
}  # fmt: skip


def store(render: Render, name: str) -> dict[str, Any]:
    return Workload(named(render, "StatefulSet", name)).container


def test_replicas_keep_away_from_their_own(sentinels: Render) -> None:
    """Three Redises of two groups fit on three hosts, whatever of an affinity a release of Kubernetes knows."""
    assert list(hardening_findings(sentinels)) == []
    broken = Render("broken", copy.deepcopy(sentinels.objects))
    rules = named(broken, "StatefulSet", "redis")["spec"]["template"]["spec"]["affinity"]["podAntiAffinity"]
    (term,) = rules["requiredDuringSchedulingIgnoredDuringExecution"]
    term |= {
        "labelSelector": {"matchLabels": {"yivideo.dev/replicated": "true"}},
        "matchLabelKeys": ["app.kubernetes.io/name"],
    }
    found = [str(finding) for finding in hardening_findings(broken)]
    assert any("passed over by Kubernetes 1.30" in one for one in found)
    assert any("not from its own replicas alone" in one for one in found)


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_wrong_with_stores_is_found(sentinels: Render, damage: str) -> None:
    """What a Redis and its sentinels are told is what their scripts read, and addresses name a group that they watch."""
    break_it, told = DAMAGES[damage]
    broken = Render("broken", copy.deepcopy(sentinels.objects))
    assert list(store_findings(broken)) == []
    break_it(broken)
    found = [str(finding) for finding in store_findings(broken)]
    assert any(told in finding for finding in found), found
