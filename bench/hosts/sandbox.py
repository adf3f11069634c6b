"""Namespaces of processes, networks and mounts in which a program may make what it likes: the kernel takes all of it away again.

The first process of a namespace of processes takes every other with it when it ends, and a network namespace goes with the last
process in it: so nothing is left whatever happens to us, SIGKILL included.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence

from runtime.program import dying_with_us

_TOOLS = {
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "ip": "iproute2",
    "nft": "nftables",
    "dnsmasq": "dnsmasq-base",
}
_UNSHARE = ("unshare", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc", "--net")
_INIT = 'mkdir -p /run/netns && mount -t tmpfs tmpfs /run/netns && { "$@"; exit $?; }'
"""A shell as the first process: it reaps what is left by others, which Python would not."""


def why_not() -> str:
    """Return why this machine cannot have them; empty: it can."""
    if missing := [f"{tool} ({package})" for tool, package in _TOOLS.items() if not shutil.which(tool)]:
        return f"these programs are missing: {', '.join(missing)}"
    if os.geteuid() != 0:
        return "only root may make network namespaces"
    probe = "ip netns add probe && nsenter --net=/run/netns/probe -- nft add table inet probe"
    tried = subprocess.run(
        [*_UNSHARE, "sh", "-c", _INIT, "sh", "sh", "-c", probe], capture_output=True, text=True, check=False
    )
    return (
        f"this machine does not allow network namespaces with nftables: {tried.stderr.strip()}"
        if tried.returncode
        else ""
    )


def run_inside(argv: Sequence[str]) -> int:
    """Run a program in namespaces of its own; gives its exit status. All that it started has ended then."""
    return subprocess.run(
        [*dying_with_us("KILL"), *_UNSHARE, "sh", "-c", _INIT, "sh", *argv], check=False
    ).returncode
