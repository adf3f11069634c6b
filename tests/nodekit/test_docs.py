"""The page "a new node in five steps" is true: its nodes start, and their tests pass."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
_BLOCK = re.compile(r"<!-- test: (\S+) -->\n```python\n(.*?)```", re.DOTALL)


def test_the_page_runs(tmp_path: Path) -> None:
    """The files of the page, written down as they stand, pass their own tests."""
    blocks = dict(_BLOCK.findall((ROOT / "docs" / "a-new-node.md").read_text()))
    assert set(blocks) == {
        "services/words/node.py",
        "services/words/__main__.py",
        "test_words.py",
        "services/pictures/node.py",
        "test_pictures.py",
    }
    for name, body in blocks.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(body)
    for package in ("services", "services/words", "services/pictures"):
        (tmp_path / package / "__init__.py").touch()
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-o",
            "asyncio_mode=auto",
            "-o",
            "asyncio_default_fixture_loop_scope=function",
            "--rootdir",
            str(tmp_path),
            "test_words.py",
            "test_pictures.py",
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
