"""Whether the locks can be installed on 64-bit ARM, asked without one: every package has a wheel for it, or is plain Python."""

from __future__ import annotations

import subprocess
import tempfile

from tests.conftest import ROOT

PLATFORM = "aarch64-manylinux_2_36"  # Debian 12's C library
ELSEWHERE_ONLY = {"paddle": "paddlepaddle has wheels for linux/amd64 alone"}
"""Environments that cannot be had on it, and why; deploy/images/README.md says so."""
PLAIN = ("jieba",)
"""Packages that come as source on every platform and compile nothing."""


def faults_on_arm(environment: str) -> list[str]:
    """What the index has not for an environment's lock on that platform; asks for names only, installs nothing."""
    if environment in ELSEWHERE_ONLY:
        return []
    with tempfile.TemporaryDirectory() as nowhere:
        asked = subprocess.run(
            [ROOT / ".venv/bin/uv", "pip", "install", "--dry-run", "--no-deps", "--require-hashes", "--target", nowhere,
             "--python-platform", PLATFORM, "--python-version", "3.11", "--only-binary", ":all:",
             *(word for name in PLAIN for word in ("--no-binary", name)),
             "--requirement", ROOT / f"requirements/{environment}.txt"],
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
    return [f"{environment} on 64-bit ARM: {asked.stderr.strip()[-300:]}"] if asked.returncode else []
