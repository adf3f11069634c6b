"""docs/dependencies.md is true: it names what the project installs, all of it, under the right licence."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path

import pytest

from stack.environments import pins

ROOT = Path(__file__).resolve().parents[2]

SECTIONS = re.split(r"^## ", (ROOT / "docs/dependencies.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
ROW = re.compile(r"^\| `([^`]+)` \| (.{3,}) \| (.{3,}) \|$", re.MULTILINE)


def listed(word: str) -> dict[str, str]:
    """The rows of the section whose title has that word: package to licence."""
    (section,) = [section for section in SECTIONS if word in section.splitlines()[0]]
    rows = ROW.findall(section)
    assert len(rows) == len(re.findall(r"^\| `", section, re.MULTILINE)), "a row is malformed"
    names = [name for name, _, _ in rows]
    assert len(names) == len(set(names)), "a package is listed twice"
    return {name: licence for name, _, licence in rows}


def required(file: str) -> set[str]:
    """The packages of a requirements file, below the root, without versions and extras."""
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    wanted = [line for line in lines if line.strip() and not line.startswith(("#", "-"))]
    return {re.split(r"[\[<>=~! ;]", line.strip())[0].lower() for line in wanted}


@pytest.mark.parametrize(
    "file",
    [
        "runtime.in",
        "core.in",
        "cli.in",
        "nodekit.in",
        "dev.in",
        "fuzz.in",
        "deploy.in",
        "npm.in",
        "japanese.in",
        "bench-locks.in",
        "client.in",
        "bench-peers.in",
    ],
)
def test_every_python_package_has_its_line(file: str) -> None:
    """The document and the requirements name the same packages."""
    assert set(listed(file)) == required(f"requirements/{file}")


def test_what_nodes_need_has_its_line() -> None:
    """The document names every package that some node asks for, and no other."""
    files = (path.relative_to(ROOT).as_posix() for path in ROOT.glob("services/*/requirements.in"))
    asked = {package for file in files for package in required(file)}
    assert set(listed("services/")) == asked


def test_what_large_engines_need_has_its_line() -> None:
    """The document names every package of an engine's own environment, and no other."""
    files = (path.relative_to(ROOT).as_posix() for path in ROOT.glob("services/*/requirements-*.in"))
    assert set(listed("Large engines")) == {package for file in files for package in required(file)}


def test_every_debian_package_has_its_line() -> None:
    """The document and the Makefile name the same packages."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    calls = re.findall(r"setup/system\.sh ((?:[\w.-]+=[\w.-]+ ?)+)", makefile)
    packages = {pair.partition("=")[2] for call in calls for pair in call.split()}
    assert packages
    assert set(listed("Debian")) == packages


def family(licence: str) -> set[str]:
    """The licence families that a text names."""
    text = licence.lower().replace("mozilla public license 2.0", "mpl")
    return {name for name in ("apache", "mit", "bsd", "mpl", "psf") if re.search(rf"\b{name}\b", text)}


@pytest.mark.parametrize("title", ["runtime.in", "core.in", "cli.in", "nodekit.in", "services/", "dev.in"])
def test_licences_are_those_of_the_packages(title: str) -> None:
    """Each licence is what the package itself says; those of large engines are not installed here and are believed."""
    here = pins((ROOT / "requirements/dev.txt").read_text(encoding="utf-8"))
    for name, licence in listed(title).items():
        if name not in here:
            assert title == "services/", f"{name} is not installed"
            continue
        metadata = importlib.metadata.metadata(name)
        said = [metadata[name] for name in ("License-Expression", "License") if name in metadata]
        said += [text for text in metadata.get_all("Classifier") or [] if text.startswith("License")]
        own = family(" ".join(line.splitlines()[0] for line in said if line))
        assert family(licence), f"{name}: {licence!r} names no licence that is known here"
        assert family(licence) <= own, f"{name}: listed under {licence}, is under {said}"
