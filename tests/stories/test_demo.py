"""`make demo`, as it is."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import ROOT


@pytest.mark.slow
def test_the_demo_ends_with_results_and_verified_callbacks() -> None:
    """The demo exits 0 after three results and three callbacks, and one segment came out for each sentence."""
    done = subprocess.run(
        [sys.executable, "-m", "stack.demo"], cwd=ROOT, capture_output=True, text=True, timeout=110
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("signature verified") == 3
    assert "12 key frames" in done.stdout
    assert "3 segments" in done.stdout
    assert "pcm_s16le, 16 kHz, 1 channel(s)" in done.stdout
