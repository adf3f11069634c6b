"""A bill of materials says what is locked, under licences that can be told; `make sbom` writes and validates whole ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.images import sbom
from tests.conftest import ROOT


def component(name: str, version: str, *licenses: sbom.Json) -> sbom.Json:
    return {
        "name": name,
        "version": version,
        "purl": f"pkg:pypi/{name}@{version}",
        "licenses": list(licenses),
    }


CLASSIFIER = {"license": {"name": "License :: OSI Approved :: Apache Software License"}}


def test_every_pin_of_our_locks_is_read_with_its_digests() -> None:
    """No line is passed over: as many pins as there are `==`, each with at least one digest."""
    for name in ("core", "light", "paddle"):
        text = (ROOT / f"requirements/{name}.txt").read_text(encoding="utf-8")
        lock = sbom.read_lock(text)
        assert len(lock) == sum("==" in line for line in text.splitlines())
        assert sum(len(digests) for _, digests in lock.values()) == text.count("--hash=sha256:")
        assert all(digests for _, digests in lock.values())


def test_a_bill_has_what_is_locked_and_nothing_else() -> None:
    """A package that is installed besides, or in another version, is refused; what made the environment is left out."""
    lock = {"a-b": ("1", ["0" * 64])}
    (found,) = sbom.python_components(
        {"components": [component("A_b", "1", CLASSIFIER), component("pip", "9")]}, lock, {}
    )
    assert found["licenses"] == [{"expression": "Apache-2.0"}]
    assert found["externalReferences"][-1]["hashes"] == [{"alg": "SHA-256", "content": "0" * 64}]
    with pytest.raises(ValueError, match="not locked: c"):
        sbom.python_components({"components": [component("A_b", "1"), component("c", "1")]}, lock, {})
    with pytest.raises(ValueError, match="installed in 2 and locked in 1"):
        sbom.python_components({"components": [component("A_b", "2")]}, lock, {})


@pytest.mark.parametrize(
    ("said", "expression"),
    [
        ([], ""),
        ([CLASSIFIER], "Apache-2.0"),
        ([{"license": {"id": "Apache-2.0"}}, CLASSIFIER], "Apache-2.0"),
        ([{"expression": "MIT OR Apache-2.0"}], "MIT OR Apache-2.0"),
        (
            [{"expression": "MIT OR BSD-2-Clause"}, {"license": {"id": "ISC"}}],
            "(MIT OR BSD-2-Clause) AND ISC",
        ),
        ([{"license": {"id": "PSF-2.0"}}, {"license": {"id": "Python-2.0"}}], "PSF-2.0"),
        ([{"license": {"name": "as you like"}}], ""),
    ],
)
def test_licences_become_one_expression(said: list[sbom.Json], expression: str) -> None:
    """What a package says in several ways is said once; what cannot be told is not guessed."""
    assert sbom.licence_expression(said) == expression


def test_debian_packages_are_read_with_the_licences_of_their_copyright_files(tmp_path: Path) -> None:
    """Installed ones only; a shared folder is followed inside the image; without a machine-readable file its pointers count."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text('ID=debian\nVERSION_ID="12"\n')
    (tmp_path / "var/lib/dpkg").mkdir(parents=True)
    (tmp_path / "var/lib/dpkg/status").write_text(
        "Package: a\nStatus: install ok installed\nArchitecture: amd64\nVersion: 7:1.0+b1\n\n"
        "Package: gone\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 1\n\n"
        "Package: b\nStatus: install ok installed\nArchitecture: all\nVersion: 2\n"
    )
    doc = tmp_path / "usr/share/doc"
    (doc / "a").mkdir(parents=True)
    (doc / "a/copyright").write_text(
        "Format: 1.0\n\nFiles: *\nLicense: GPL-2+\n text\n\nFiles: x\nLicense: MIT\n\nLicense: GPL-2+\n"
    )
    (doc / "b").symlink_to("/usr/share/doc/a")
    first, second = sbom.debian_components(tmp_path)
    assert first["purl"] == "pkg:deb/debian/a@7%3A1.0%2Bb1?arch=amd64&distro=debian-12"
    assert [entry["license"]["name"] for entry in first["licenses"]] == ["GPL-2+", "MIT"]
    assert second["name"] == "b" and second["licenses"] == first["licenses"]
    (doc / "a/copyright").write_text("Free. See /usr/share/common-licenses/LGPL-2.1.\n")
    assert sbom.debian_licences(tmp_path, "a") == ["see LGPL-2.1"]
    (doc / "a/copyright").write_text("Some words.\nLicense: Permission is granted\n")
    assert sbom.debian_licences(tmp_path, "a") == ["see its copyright file"]
    assert sbom.debian_licences(tmp_path, "none") == []


def test_an_image_of_another_lock_gets_no_bill(tmp_path: Path) -> None:
    """A bill that names what the image has not would be worse than none."""
    packages = tmp_path / "opt/venv/lib/python3.11/site-packages"
    (packages / "A_b-1.dist-info").mkdir(parents=True)
    lock = {"a-b": ("1", ["0" * 64])}
    assert sbom.image_faults(tmp_path, lock) == ""
    assert "(a-b)" in sbom.image_faults(tmp_path, {"a-b": ("2", [])})
    assert "(c)" in sbom.image_faults(tmp_path, {**lock, "c": ("1", [])})
