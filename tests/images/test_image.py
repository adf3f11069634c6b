"""The look through an image finds what has no business there: each thing that is planted, and nothing in a clean one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nodekit.models.entry import manifest
from stack.environments import pins
from tests.conftest import ROOT
from tests.images.image import LABELS, Image


@pytest.fixture
def clean(tmp_path: Path) -> Image:
    """An image with nothing wrong about it."""
    for folder in (
        "usr/bin",
        "opt/venv/lib/python3.11/site-packages",
        "models",
        "var/lib/apt/lists",
        "run/secrets",
    ):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "usr/bin/python3").write_text("")
    labels = {f"org.opencontainers.image.{label}": "x" for label in LABELS}
    config = {"User": "10001:10001", "Entrypoint": ["/usr/bin/tini", "--"], "Labels": labels, "Env": []}
    return Image("i", tmp_path, config, 0)


def test_a_clean_image_has_no_fault(clean: Image) -> None:
    """What is planted below is what is found, and not something that is always there."""
    assert clean.faults() == []


def weights(root: Path) -> None:
    file = max((file for entry in manifest().values() for file in entry.files), key=lambda file: file.size)
    with (root / "opt" / Path(file.path).name).open("wb") as stream:
        stream.truncate(file.size)


def setuid(root: Path) -> None:
    (root / "usr/bin/python3").chmod(0o4755)


@pytest.mark.parametrize(
    ("plant", "found"),
    [
        (lambda root: (root / "usr/bin/gcc").symlink_to("gcc-12"), "build tool: usr/bin/gcc"),
        (lambda root: (root / "opt/venv/lib/python3.11/site-packages/pip").mkdir(), "build tool: opt/venv"),
        (lambda root: (root / "run/secrets/pip_conf").write_text(""), "left behind: run/secrets"),
        (lambda root: (root / "var/lib/apt/lists/x").write_text("x"), "left behind: var/lib/apt/lists"),
        (lambda root: (root / "models/x").mkdir(), "in /models: x"),
        (weights, "weights of "),
        (setuid, "changes its user: usr/bin/python3"),
    ],
)
def test_what_is_planted_in_its_files_is_found(
    clean: Image, plant: Callable[[Path], Any], found: str
) -> None:
    """Tools, secrets, lists, weights (also under another folder) and setuid programs."""
    plant(clean.root)
    (fault,) = clean.faults()
    assert fault.startswith(f"i: {found}")


def test_what_is_locked_is_there(clean: Image, tmp_path: Path) -> None:
    """Each package of the environment's lock in its version, setuptools among them where it is one: Paddle ends without it."""
    packages = tmp_path / "opt/venv/lib/python3.11/site-packages"
    paddle = replace(clean, name="localhost/yivideo-paddle:1")
    locked = pins((ROOT / "requirements/paddle.txt").read_text(encoding="utf-8"))
    for name, version in locked.items():
        (packages / f"{name.replace('-', '_')}-{version}.dist-info").mkdir()
    (packages / "setuptools").mkdir()
    assert "setuptools" in locked and paddle.faults() == []
    (packages / f"setuptools-{locked['setuptools']}.dist-info").rename(packages / "setuptools-1.0.dist-info")
    (fault,) = paddle.faults()
    assert fault == (
        f"localhost/yivideo-paddle:1: locked in {locked['setuptools']}, is in it 1.0: setuptools"
    )
    assert any(
        "build tool: opt/venv" in one for one in replace(paddle, name="localhost/yivideo-light:1").faults()
    )


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"User": "0:0"}, "runs as root"),
        ({"User": "yivideo"}, "its user is no number"),
        ({"User": "10001:0"}, "runs as root"),
        ({"Entrypoint": ["python"]}, "process 1 is not tini"),
        ({"Labels": {f"org.opencontainers.image.{label}": "x" for label in LABELS[1:]}}, "no label title"),
    ],
)
def test_what_its_configuration_lacks_is_found(clean: Image, change: dict[str, Any], found: str) -> None:
    """Root by number or by name, no reaper, a missing label."""
    (fault,) = replace(clean, config={**clean.config, **change}).faults()
    assert fault.startswith(f"i: {found}")
