"""Nodes whose dependencies exclude each other run in one stack, which itself runs on the core's packages alone.

Each environment is made by `setup/environment.sh`, as `make environment` and images do.
"""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import zipfile
from pathlib import Path

import aiohttp
import pytest

from tests.conftest import ROOT
from tests.stories.conftest import running_stack

TABLE = """
[older]
module = "tests.stories.older"
environment = "older"

[newer]
module = "tests.stories.newer"
environment = "newer"

[absent]
module = "tests.stories.older"
node = "absent"
environment = "absent"

[crashing]
module = "tests.stories.no_such_module"
"""


def make_wheel(folder: Path, version: str, function: str) -> str:
    """Write a wheel of the package `clashing` in which only this function exists; gives its sha256."""
    info = f"clashing-{version}.dist-info"
    files = {
        "clashing.py": f"def {function}():\n    return 'clashing {version}'\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: clashing\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = [f"{name},sha256={_digest(text)},{len(text)}" for name, text in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""])
    wheel = folder / f"clashing-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return hashlib.sha256(wheel.read_bytes()).hexdigest()


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def make_environment(folder: Path, name: str, lock: Path) -> Path:
    """Have an environment made as `make environment` does; gives its interpreter."""
    environment = folder / "environments" / name
    subprocess.run(
        [ROOT / "setup/environment.sh", name, lock, environment],
        env={**os.environ, "UV_FIND_LINKS": str(folder / "wheels"), "PIP_FIND_LINKS": str(folder / "wheels")},
        check=True,
        timeout=110,
    )
    return environment / "bin/python"


def make_node_environment(folder: Path, name: str, version: str, function: str) -> None:
    """Lock what every node needs and one version of `clashing`, and make that environment."""
    wheels, locks = folder / "wheels", folder / "locks"
    wheels.mkdir(exist_ok=True)
    locks.mkdir(exist_ok=True)
    pin = f"clashing=={version} \\\n    --hash=sha256:{make_wheel(wheels, version, function)}\n"
    lock = locks / f"{name}.txt"
    lock.write_text(pin + _locked(["runtime.in", "nodekit.in"]))
    make_environment(folder, name, lock)


def _locked(files: list[str]) -> str:
    """Lock requirement files as `make lock` does, within what light has."""
    command = [
        ROOT / ".venv/bin/uv",
        "pip",
        "compile",
        "-q",
        "--generate-hashes",
        "--no-header",
        "--no-annotate",
    ]
    command += [
        "--python-version",
        "3.11",
        "-c",
        "requirements/light.txt",
        *(f"requirements/{file}" for file in files),
    ]
    done = subprocess.run(
        [str(word) for word in command], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_nodes_whose_packages_exclude_each_other_run_side_by_side(tmp_path: Path) -> None:
    """Each worker has its own version; a node without its environment, and one that cannot start, leave the rest running. Stack,
    gateway, scheduler, filestore and lock service have no package of the media world.
    """
    make_node_environment(tmp_path, "older", "1.0", "speak_old")
    make_node_environment(tmp_path, "newer", "2.0", "speak_new")
    core = make_environment(tmp_path, "core", ROOT / "requirements/core.txt")
    no_media = subprocess.run([core, "-c", "import numpy"], capture_output=True, text=True, check=False)
    assert "ModuleNotFoundError" in no_media.stderr
    (tmp_path / "locks/absent.txt").write_text("clashing==3.0 \\\n    --hash=sha256:00\n")
    table = tmp_path / "nodes.toml"
    table.write_text(TABLE)
    where = {
        "node_table": str(table),
        "environments": str(tmp_path / "environments"),
        "locks": str(tmp_path / "locks"),
    }
    with running_stack(tmp_path / "run", python=str(core), only=[], **where) as stack:
        async with aiohttp.ClientSession(stack.url) as http:
            for name, version in (("older", "1.0"), ("newer", "2.0")):
                body = {"task_name": f"{name}.ask", "input_data": {}}
                async with http.post("/v1/tasks", json=body, headers={"Prefer": "wait=30"}) as response:
                    shown = await response.json()
                    assert shown["state"] == "completed", shown
                output = shown["result"]["output"]
                assert output["answer"] == f"clashing {version}"
                assert output["interpreter"] == str(tmp_path / "environments" / name / "bin/python")
        assert "make environment name=absent" in stack.card["left_out"]["absent"][0]
        assert stack.card["pids"]["crashing"] is None
