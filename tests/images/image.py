"""A built image: what its configuration says, and its files, mounted to be looked at and run from."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nodekit.models.entry import manifest
from stack.environments import pins
from tests.conftest import ROOT

BUILD_TOOLS = frozenset(
    {
        "gcc", "cc", "g++", "c++", "clang", "ld", "as", "make", "cmake", "ninja", "cargo", "rustc", "go", "git",
        "dpkg-buildpackage", "pip", "pip3", "uv", "poetry", "conda", "npm", "buildah", "debootstrap", "protoc",
    }
)  # fmt: skip
"""Commands that have no business in what runs."""
BUILD_MODULES = ("pip", "setuptools", "grpc_tools", "ensurepip", "mypy", "pytest")
"""Packages that have none either, but where the environment's lock has them: what runs imports them then (Paddle: setuptools)."""

_SMALL = 1_000_000
"""Bytes up to which a model's file is no weights: configurations and word lists are alike in many packages."""

LABELS = ("title", "description", "version", "revision", "created", "licenses", "base.name")


@dataclass(frozen=True)
class Image:
    """One image and where its files are."""

    name: str
    root: Path
    config: dict[str, Any]
    size: int
    """Bytes of its files on disk."""

    @property
    def uid_gid(self) -> tuple[int, int]:
        """Whom it runs as. Raises ValueError when that is not said in numbers."""
        uid, _, gid = self.config["User"].partition(":")
        return int(uid), int(gid)

    @property
    def environment(self) -> dict[str, str]:
        """The variables that it sets."""
        return dict(entry.split("=", 1) for entry in self.config["Env"])

    def faults(self) -> list[str]:
        """What a look at configuration and files finds wrong."""
        found = []
        labels = self.config.get("Labels") or {}
        for label in LABELS:
            if not labels.get(f"org.opencontainers.image.{label}"):
                found.append(f"no label {label}")
        try:
            if 0 in self.uid_gid:
                found.append("runs as root")
        except ValueError:
            found.append(f"its user is no number: {self.config['User']}")
        if not self.config["Entrypoint"][0].endswith("tini"):
            found.append("process 1 is not tini")
        found += self._build_tools() + self._left_behind() + self._weights() + self._packages()
        return [f"{self.name}: {fault}" for fault in found]

    def _files(self) -> Iterator[Path]:
        for folder, _, names in os.walk(self.root):
            for name in names:
                yield Path(folder, name)

    def _build_tools(self) -> list[str]:
        places = ["usr/local/bin", "usr/bin", "bin", "usr/sbin", "opt/venv/bin", "usr/local/sbin"]
        commands = [self.root / place / tool for place in places for tool in BUILD_TOOLS]
        modules = [
            path / module
            for path in (
                *self.root.glob("opt/venv/lib/python3*/site-packages"),
                *self.root.glob("usr/lib/python3*"),
            )
            for module in BUILD_MODULES
            if module not in self._locked
        ]
        headers = [path for path in self.root.glob("usr/include/*") if path.suffix == ".h"]
        there = [path for path in (*commands, *modules) if os.path.lexists(path)] + headers
        return sorted({f"build tool: {path.relative_to(self.root)}" for path in there})

    @property
    def _locked(self) -> dict[str, str]:
        """What the lock of its environment pins; nothing for an image that is of none."""
        lock = ROOT / "requirements" / f"{self.name.rpartition('yivideo-')[2].partition(':')[0]}.txt"
        return pins(lock.read_text(encoding="utf-8")) if lock.is_file() else {}

    def _packages(self) -> list[str]:
        """What is locked and not there as locked: an import of it fails only when somebody needs it."""
        there = {
            re.sub(r"[-_.]+", "-", name).lower(): version
            for path in self.root.glob("opt/venv/lib/python3*/site-packages/*.dist-info")
            for name, _, version in (path.name.removesuffix(".dist-info").rpartition("-"),)
        }
        return [
            f"locked in {version}, is in it {there.get(name, 'not at all')}: {name}"
            for name, version in self._locked.items()
            if there.get(name) != version
        ]

    def _left_behind(self) -> list[str]:
        """What a build may have left: secrets, sources of packages, programs that change their user."""
        found = []
        for place in (
            "run/secrets",
            "etc/pip.conf",
            "root/.cache",
            "root/.config",
            "etc/apt/sources.list",
            "var/lib/apt/lists",
        ):
            path = self.root / place
            if (path.is_file() and path.stat().st_size) or (path.is_dir() and any(path.iterdir())):
                found.append(f"left behind: {place}")
        for path in self._files():
            mode = path.lstat().st_mode
            if stat.S_ISREG(mode) and mode & (stat.S_ISUID | stat.S_ISGID):
                found.append(f"changes its user: {path.relative_to(self.root)}")
        return found

    def _weights(self) -> list[str]:
        """Files of the model store, known by name and size."""
        known = {
            (Path(file.path).name, file.size): name
            for name, entry in manifest().items()
            for file in entry.files
            if file.size > _SMALL
        }
        found = [f"in /models: {path.name}" for path in (self.root / "models").iterdir()]
        for path in self._files():
            if weights := known.get((path.name, path.lstat().st_size)):
                found.append(f"weights of {weights}: {path.relative_to(self.root)}")
        return found


def buildah(*arguments: str) -> str:
    """Run buildah; gives what it prints."""
    return subprocess.run(
        ["buildah", *arguments], check=True, capture_output=True, text=True, timeout=300
    ).stdout.strip()


@contextmanager
def mounted(name: str) -> Iterator[Image]:
    """Mount an image's files for the time of the block."""
    config = json.loads(buildah("inspect", "--type", "image", name))["OCIv1"]["config"]
    container = buildah("from", "--pull-never", name)
    try:
        root = Path(buildah("mount", container))
        size = sum(path.lstat().st_blocks * 512 for path in root.rglob("*") if not path.is_symlink())
        yield Image(name, root, config, size)
    finally:
        buildah("rm", container)
