"""deploy/images/build.sh, ended in the middle: what it was told in private is gone with it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.signals import heeded

BUILDAH = """#!/bin/sh
[ "$1" != build ] || { touch "$STARTED"; exec sleep 60; }
"""
"""Stands for buildah: builds for ever."""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_secrets_of_a_build_do_not_outlive_it(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C, a closed terminal, a kill: for those a shell runs no EXIT trap by itself. Pip's configuration may hold a password."""
    (tmp_path / "bin").mkdir()
    buildah = tmp_path / "bin/buildah"
    buildah.write_text(BUILDAH)
    buildah.chmod(0o755)
    kept, started = tmp_path / "tmp", tmp_path / "started"
    kept.mkdir()
    environment = {
        "PATH": f"{buildah.parent}:{os.environ['PATH']}", "TMPDIR": str(kept), "STARTED": str(started), "BASE": "debian",
    }  # fmt: skip
    with heeded():
        process = subprocess.Popen(
            [ROOT / "deploy/images/build.sh", "core"], env=environment, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    try:
        end = time.monotonic() + 30
        while not started.exists():
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.02)
        (secrets,) = kept.iterdir()
        assert (secrets / "pip_conf").exists()
        os.killpg(process.pid, number)
        assert process.wait(30) != 0
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert list(kept.iterdir()) == []
