"""The wheel: `pip install .` brings a client that works and little else, and images are made of whole packages."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SETUPTOOLS = PROJECT["tool"]["setuptools"]
PACKAGES = [name.rstrip("*") for name in SETUPTOOLS["packages"]["find"]["include"]]

NOT_SHIPPED = ("*/README.md", "*/requirements*.in")
"""What stands in a room for its readers and for `make lock`."""


def tracked() -> list[str]:
    """Every file of the rooms that the wheel is made of."""
    listed = subprocess.run(
        ["git", "ls-files", *PACKAGES, "yivideo_client"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    ).stdout.splitlines()
    assert len(listed) > 300
    return [name for name in listed if not any(fnmatch(name, pattern) for pattern in NOT_SHIPPED)]


def test_data_files_are_declared() -> None:
    """A script, page, template or table that setuptools is not told of is missing in the wheel, and in every image."""
    patterns = [f"{room}/{glob}" for room, globs in SETUPTOOLS["package-data"].items() for glob in globs]
    missing = [name for name in tracked() if not name.endswith(".py")]
    missing = [name for name in missing if not any(fnmatch(name, pattern) for pattern in patterns)]
    assert missing == []


def test_the_client_brings_few_packages_and_no_server() -> None:
    """What `pip install .` asks for is what the client imports, and no more."""
    assert SETUPTOOLS["dynamic"]["dependencies"] == {"file": ["requirements/cli.in"]}
    asked = {
        re.split(r"[\[<>=~! ;]", line)[0]
        for line in (ROOT / "requirements/cli.in").read_text(encoding="utf-8").splitlines()
        if not line.startswith("#")
    }
    imported = set()
    for path in (ROOT / "yivideo_client").rglob("*.py"):
        imported |= set(
            re.findall(r"^\s*(?:import|from) (\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
        )
    foreign = (
        imported - sys.stdlib_module_names - {"yivideo_client", "yarl"}
    )  # yarl is aiohttp's own word for a URL
    assert foreign == asked


@pytest.mark.slow
def test_the_wheel_has_every_file(tmp_path: Path) -> None:
    """Built as an image build does it, the wheel holds each tracked file of its rooms, the contracts and the command."""
    source = (
        tmp_path / "source"
    )  # a build leaves its own folder behind, whose old files the next one would take up
    for name in (*PACKAGES, "yivideo_client"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in [
        *(ROOT / name for name in ("pyproject.toml", "README.md", "LICENSE")),
        *ROOT.glob("requirements/*.in"),
    ]:
        target = source / path.relative_to(ROOT)
        target.parent.mkdir(exist_ok=True)
        shutil.copy(path, target)
    subprocess.run(
        [ROOT / ".venv/bin/uv", "build", "--quiet", "--offline", "--wheel", "--no-build-isolation",
         "--python", sys.executable, "--out-dir", tmp_path, source],
        check=True, timeout=120, capture_output=True,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert sorted(set(tracked()) - names) == []
    assert {"yivideo/task/v1/task_pb2.py", "yivideo/task/v1/task_pb2_grpc.py", "yivideo/__init__.py"} <= names
    assert not [name for name in names if name.startswith(("tests/", "bench/", "deploy/", "build/"))]
    (entry,) = (name for name in names if name.endswith("entry_points.txt"))
    assert "yivideo = yivideo_client.cli.start:main" in zipfile.ZipFile(wheel).read(entry).decode()
