"""The core's environment: gateway, scheduler, filestore, lock service and stack run on it, and the media world is not in it."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

from stack.environments import pins, requirement_files
from stack.node_table import read_node_table

ROOT = Path(__file__).resolve().parents[2]
CORE = pins((ROOT / "requirements/core.txt").read_text(encoding="utf-8"))

ROOMS_OF_NODES = {"media", "nodekit", "services", "subtitles", "language_models", "voice_activity"}

IMPORT_ON_CORE_ALONE = """
import importlib, importlib.metadata, pkgutil, re, sys

allowed = {*sys.argv[1].split(), "yivideo"}  # this project itself, which `make setup` installs for its command
owners = importlib.metadata.packages_distributions()
foreign = {
    top
    for top, names in owners.items()
    if top != "google" and not allowed & {re.sub(r"[-_.]+", "-", name).lower() for name in names}
}


class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in foreign:
            raise ModuleNotFoundError(f"{name} is not on the core's environment", name=name)


sys.meta_path.insert(0, Absent())
for room in sys.argv[2].split():
    package = importlib.import_module(room)
    for module in pkgutil.walk_packages(package.__path__, f"{room}."):
        if not module.name.endswith("__main__") and not module.name.startswith("yivideo_client.cli"):
            importlib.import_module(module.name)
print("numpy" in sys.modules, "numpy" in foreign)
"""


def test_the_core_installs_nothing_of_the_media_world() -> None:
    """No package that only nodes ask for is in the core's lock, and none of the usual carriers of media is."""
    asked = set()
    for row in read_node_table():
        file = ROOT / row.module.replace(".", "/") / "requirements.in"
        lines = file.read_text(encoding="utf-8").splitlines()
        asked |= {re.split(r"[\[<>=~! ;]", line)[0].lower() for line in lines if line and line[0] not in "#-"}
    assert asked, "no node asks for anything"
    own = (ROOT / "requirements/core.in").read_text(encoding="utf-8").splitlines()
    core = {re.split(r"[\[<>=~! ;]", line)[0].lower() for line in own if line and line[0] not in "#-"}
    assert not (asked - core) & set(CORE)
    assert not {"numpy", "ffmpeg-python", "pysubs2", "onnxruntime", "torch", "nvidia-ml-py"} & set(CORE)


def test_the_core_needs_no_package_beyond_its_lock() -> None:
    """Every module of the core's rooms imports where no other package can be found."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    rooms = [room for room in project["tool"]["importlinter"]["root_packages"] if room not in ROOMS_OF_NODES]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", IMPORT_ON_CORE_ALONE, " ".join(CORE), " ".join(rooms)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["False", "True"], "numpy was in reach"


def test_every_node_has_its_requirements_and_every_environment_its_lock() -> None:
    """A node of the table is a package with a requirements.in; its environment's lock pins every package that is asked for."""
    rows = read_node_table()
    for row in rows:
        assert row.environment, f"{row.name} names no environment"
        lock = pins((ROOT / f"requirements/{row.environment}.txt").read_text(encoding="utf-8"))
        for file in requirement_files(row.environment, rows):
            lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
            names = {
                re.split(r"[\[<>=~! ;]", line)[0].lower() for line in lines if line and line[0] not in "#-"
            }
            assert names <= set(lock), f"{file} is not locked: run `make lock`"


def test_the_development_environment_has_core_and_light_as_locked() -> None:
    """Tests run on the very versions that core and the light nodes run on."""
    development = pins((ROOT / "requirements/dev.txt").read_text(encoding="utf-8"))
    for name in ("core", "light"):
        lock = pins((ROOT / f"requirements/{name}.txt").read_text(encoding="utf-8"))
        assert lock.items() <= development.items(), f"{name} and dev differ: run `make lock`"
