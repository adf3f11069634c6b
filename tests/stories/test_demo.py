"""`make demo`, as it is."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from stack.demo.film import SENTENCES
from stack.node_table import read_node_table
from tests.conftest import ROOT

NODES_OF_THE_TABLE = {row.name for row in read_node_table()}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_demo_ends_with_results_and_verified_callbacks() -> None:
    """Exit 0 after results and a verified callback of each task; what a node that is here heard is the script, and no act is
    left out without a word.
    """
    done = subprocess.run(
        [sys.executable, "-m", "stack.demo"], cwd=ROOT, capture_output=True, text=True, timeout=280
    )
    said = done.stdout
    assert done.returncode == 0, said + done.stderr
    submitted = re.findall(r"^submitted (\S+)", said, re.MULTILINE)
    assert len(submitted) >= 3
    assert said.count("signature verified") == len(submitted)
    assert "12 key frames" in said
    assert "3 segments" in said
    assert "pcm_s16le, 16 kHz, 1 channel(s)" in said
    started = re.search(r"^started +(.*);", said, re.MULTILINE)
    assert started is not None
    parts = started[1].split(", ")
    for node, proof in {
        "asr": SENTENCES[0],
        "diarize": "2 speakers found",
        "tts": "narration-zh.wav",
        "subtitle": "film-subtitled.mkv: 1 track of subtitles",
    }.items():
        assert (proof in said) == (node in parts), f"{node}: {said}"
        assert node in parts or f"left out  {node}" in said or node not in NODES_OF_THE_TABLE, said
