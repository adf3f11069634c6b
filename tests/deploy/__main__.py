"""`make check-deploy`: renders every overlay and combination of components, and holds them to Kubernetes and to the code."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Iterator, Sequence

from tests.deploy.arrows import arrow_findings, arrows, outside_findings, port_findings
from tests.deploy.finding import Finding, invalid
from tests.deploy.hardening import hardening_findings
from tests.deploy.kustomize import K8S, CannotRender, find_kubectl, render, render_components
from tests.deploy.live import NotReady, live_findings
from tests.deploy.manifests import Render
from tests.deploy.names import name_findings
from tests.deploy.stores import store_findings
from tests.deploy.validity import schema_findings
from tests.s3 import radosgw

OVERLAYS = ("demo", "production", "gpu")
_STORES = ("embedded-redis", "embedded-s3")
_WATCHED_FROM_OUTSIDE = ("network-policy", "traces", "sentry")
COMBINATIONS: Sequence[tuple[str, ...]] = (
    (),
    _STORES,
    (*_STORES, "network-policy"),
    (*_STORES, "monitoring"),
    (*_STORES, "keda"),
    (*_STORES, "tls"),
    (*_STORES, "gpu"),
    (*_STORES, "paddle-ocr"),
    (*_STORES, *_WATCHED_FROM_OUTSIDE),
    ("sentinel", "embedded-s3", "network-policy"),
    (*_STORES, "tls", "keda", "keda-tls"),
    (
        "sentinel",
        "embedded-s3",
        "tls",
        "keda",
        "keda-tls",
        "monitoring",
        *_WATCHED_FROM_OUTSIDE,
        "gpu",
        "paddle-ocr",
    ),
)
"""Each component alone with what it stands on, and all together; the order is that of a kustomization."""

LIVE = (*_STORES, "network-policy", "tls", "keda", "keda-tls", "monitoring")
"""What is run: everything that one machine without cards can run."""


RULES = (
    schema_findings,
    hardening_findings,
    name_findings,
    store_findings,
    arrow_findings,
    port_findings,
    outside_findings,
)
"""What can be told without starting anything."""


def static_findings(one: Render) -> Iterator[Finding]:
    """Yield what the rules say."""
    for rule in RULES:
        yield from rule(one)


def rendered(kubectl: str) -> tuple[list[Render], int]:
    """Return every overlay and combination, and how many kustomize refused; those are told."""
    made: list[Render] = []
    refused = 0
    for name in (*OVERLAYS, *COMBINATIONS):
        try:
            if isinstance(name, str):
                made.append(Render(name, render(kubectl, K8S / "overlays" / name)))
            else:
                made.append(Render("+".join(("base", *name)), render_components(kubectl, name)))
        except CannotRender as error:
            refused += 1
            print(f"{name}: {error}")
    return made, refused


def lived(whole: Render) -> tuple[list[Finding], int]:
    """Run everything that one machine can run; gives what was found and how many arrows were seen."""
    with contextlib.ExitStack() as stack:
        missing = radosgw.missing_programs()
        if missing:
            print(
                f"check-deploy: no {missing[0]} here (make test-s3 brings it): arrows to S3 are not looked at"
            )
        s3 = None if missing else stack.enter_context(radosgw.running())
        try:
            found, seen = live_findings(whole, s3)
        except NotReady as error:
            return [invalid("live", str(error))], 0
        return found, len(seen)


def main() -> int:
    """Check, print what was found and one line of JSON; 0 when nothing was."""
    parser = argparse.ArgumentParser(prog="python -m tests.deploy")
    parser.add_argument("--static", action="store_true", help="start no processes")
    given = parser.parse_args()
    kubectl = find_kubectl()
    if kubectl is None:
        print(
            "check-deploy: skipped: no kubectl with kustomize 5 here, and none could be fetched (setup/kubectl.sh)"
        )
        return 0
    began = time.monotonic()
    renders, refused = rendered(kubectl)
    found = list(dict.fromkeys(finding for one in renders for finding in static_findings(one)))
    whole, seen = Render("live", render_components(kubectl, LIVE)), 0
    if found:
        print("nothing is started: names are wrong already")
    elif not given.static:
        print(
            f"{len(renders)} renders hold on paper after {time.monotonic() - began:.0f} s; their processes are started"
        )
        found, seen = lived(whole)
    print(*found, sep="\n", end="\n" if found else "")
    told = {
        "overlays": len(OVERLAYS), "combinations": len(COMBINATIONS), "objects": sum(len(one.objects) for one in renders),
        "arrows": len(arrows(whole)), "arrows_seen": seen,
        "invalid": refused + sum(finding.kind == "invalid" for finding in found),
        "names_not_in_code": sum(finding.kind == "not in code" for finding in found),
        "seconds": round(time.monotonic() - began),
    }  # fmt: skip
    print("RESULT " + json.dumps(told))
    return 1 if told["invalid"] or told["names_not_in_code"] else 0


if __name__ == "__main__":
    sys.exit(main())
