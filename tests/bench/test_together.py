"""Several benches run as one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.together import main

GOOD = "print('looked at 3'); print('RESULT', '{\"wer\": 0.1}')"
MISSED = "import sys; print('RESULT', '{\"der\": 0.9}'); sys.exit('over the gate')"
SILENT = "print('nothing to say')"


@pytest.fixture
def benches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three small benches on the path."""
    for name, text in {"good": GOOD, "missed": MISSED, "silent": SILENT}.items():
        (tmp_path / f"bench_{name}.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def test_figures_of_all_are_one_line_and_one_miss_fails(
    benches: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """The figures are merged, what missed is named, and what comes after it still runs."""
    assert main(["bench_missed", "bench_good"]) == 1
    said = capsys.readouterr()
    last = said.out.splitlines()[-1]
    assert json.loads(last.removeprefix("RESULT ")) == {"der": 0.9, "wer": 0.1}
    assert "looked at 3" in said.out and "missed a gate or broke: bench_missed" in said.err
    assert main(["bench_good"]) == 0


def test_a_bench_without_figures_has_failed(benches: None) -> None:
    """A bench that breaks off, or ends without a RESULT, cannot pass; nor can none at all."""
    assert main(["bench_silent"]) == 1
    assert main(["no_such_bench"]) == 1
    assert main([]) == 2
