"""The gateway's folders say what each of their files is for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

GATEWAY = Path(__file__).parents[2] / "gateway"
FOLDERS = sorted(path.parent for path in GATEWAY.rglob("README.md") if "static" not in path.parts)


def described(folder: Path) -> dict[str, str]:
    """Return the lines of a folder's table, by the path that each is about."""
    rows = re.findall(
        r"^\| \[?`([^`]+)`(?:\]\([^)]*\))? \| (.+) \|$", (folder / "README.md").read_text(), re.MULTILINE
    )
    return dict(rows)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_file_has_a_line(folder: Path) -> None:
    """Each file stands in its README once, files that are gone do not, and a line says more than the name."""
    below = {path for path in FOLDERS if folder in path.parents}
    files = {
        str(path.relative_to(folder))
        for path in (*folder.rglob("*.py"), *folder.rglob("*.yaml"))
        if path.name != "__init__.py" and not any(other in path.parents for other in below)
    }
    rows = described(folder)
    folders = {name for name in rows if name.endswith("/")}
    assert set(rows) - folders == files
    assert all((folder / name).is_dir() for name in folders)
    for name, line in rows.items():
        words = set(re.findall(r"[a-z]+", line.lower())) - set(re.findall(r"[a-z]+", name.lower()))
        assert len(words) >= 2, f"{name}: {line}"


def test_every_part_is_described() -> None:
    """A folder of the gateway has a README of its own."""
    assert {folder.name for folder in FOLDERS} >= {
        path.name for path in GATEWAY.iterdir() if (path / "__init__.py").exists()
    }
