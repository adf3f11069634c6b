"""`python -m bench.hosts [--seed N] [--tasks N] [--break LAW] [--keep]`: the processes on hosts, which are lost and come back.

Hosts are network namespaces. Where they cannot be had the story is skipped, and says why; the exit code is 1 when a promise broke.
"""

from __future__ import annotations

import sys

from bench.hosts.sandbox import run_inside, why_not


def main() -> int:
    """Run the story in namespaces that end with it."""
    if reason := why_not():
        print(f"SKIPPED story-hosts: {reason}")
        return 0
    return run_inside([sys.executable, "-m", "bench.hosts.story", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
