"""A bill of materials of one image, and its licences: what its lock pins, as installed, and the Debian packages that it is made of.

    sbom.py NAME --lock requirements/core.txt --python .environments/core/bin/python --output .sbom [--root FOLDER]

cyclonedx-py reads the installed packages with their metadata. Here each is held against the lock and gets the checksums that the
lock allows; licences become SPDX expressions; the Debian packages of an image whose files lie at `--root` are added with the
licences of their copyright files. The outcome is validated against CycloneDX's own schema. Runs on the environment `sbom`.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

SPEC_VERSION = "1.6"
_HERE = Path(__file__).resolve().parent
_PIN = re.compile(r"^([A-Za-z0-9][\w.-]*)(?:\[[\w,-]+\])?==([^\s;\\]+)((?:[^\n]*\\\n)*[^\n]*)", re.MULTILINE)
_SPDX = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "GNU General Public License v3 (GPLv3)": "GPL-3.0-only",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
_BOOTSTRAP = {"pip", "setuptools"}
"""What makes an environment and is taken out of an image's."""

Json = dict[str, Any]


def normal(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_lock(text: str) -> dict[str, tuple[str, list[str]]]:
    """Normalised name to version and SHA-256 digests."""
    return {
        normal(name): (version, re.findall(r"--hash=sha256:([0-9a-f]{64})", rest))
        for name, version, rest in _PIN.findall(text)
    }


def python_components(
    bom: Json, lock: Mapping[str, tuple[str, list[str]]], told: Mapping[str, str]
) -> list[Json]:
    """The packages of a lock as they are installed. Raises ValueError where installation and lock disagree."""
    installed = {normal(component["name"]): component for component in bom["components"]}
    strangers = sorted(set(installed) - set(lock) - _BOOTSTRAP)
    if strangers:
        raise ValueError(f"installed but not locked: {', '.join(strangers)}")
    found = []
    for name, component in installed.items():
        if name not in lock:
            continue
        version, digests = lock[name]
        if component["version"] != version:
            raise ValueError(f"{name} is installed in {component['version']} and locked in {version}")
        expression = told.get(name) or licence_expression(component.get("licenses") or ())
        component["licenses"] = [{"expression": expression}] if expression else []
        component.setdefault("externalReferences", []).append(
            {
                "type": "distribution",
                "url": component["purl"],
                "comment": "one of these files, as locked",
                "hashes": [{"alg": "SHA-256", "content": digest} for digest in digests],
            }
        )
        found.append(component)
    return found


def licence_expression(said: Iterable[Json]) -> str:
    """One SPDX expression of what a package's metadata says; empty when it says nothing that can be told."""
    parts: list[str] = []
    for entry in said:
        name = entry.get("expression") or entry["license"].get("id")
        if not name:
            name = _SPDX.get(entry["license"].get("name", "").rpartition(" :: ")[2], "")
        if name and name not in parts:
            parts.append(name)
    # Python-2.0 is what the same classifier was called before.
    parts = [part for part in parts if part != "Python-2.0" or "PSF-2.0" not in parts]
    return " AND ".join(f"({part})" if " OR " in part and len(parts) > 1 else part for part in parts)


def image_faults(root: Path, lock: Mapping[str, tuple[str, list[str]]]) -> str:
    """What of an image's Python packages is not as the lock says; empty: nothing."""
    folders = [
        path.name.removesuffix(".dist-info")
        for path in root.glob("opt/venv/lib/python3*/site-packages/*.dist-info")
    ]
    there = {normal(name): version for name, _, version in (folder.rpartition("-") for folder in folders)}
    locked = {name: version for name, (version, _) in lock.items()}
    other = sorted({name for name, _ in there.items() ^ locked.items()})
    return (
        f"the image was built from another lock ({', '.join(other)}); make images builds it anew"
        if other
        else ""
    )


def debian_components(root: Path) -> Iterator[Json]:
    """The Debian packages whose files lie below a folder, with the licences that their copyright files name."""
    release = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', (root / "etc/os-release").read_text(), re.MULTILINE))
    for stanza in (root / "var/lib/dpkg/status").read_text(encoding="utf-8").split("\n\n"):
        fields = dict(re.findall(r"^([\w-]+): (.*)$", stanza, re.MULTILINE))
        if not fields.get("Status", "").endswith(" installed"):
            continue
        name, version, architecture = fields["Package"], fields["Version"], fields["Architecture"]
        purl = (
            f"pkg:deb/{release['ID']}/{name}@{version.replace(':', '%3A').replace('+', '%2B')}"
            f"?arch={architecture}&distro={release['ID']}-{release.get('VERSION_ID', '')}"
        )
        yield {
            "type": "library",
            "bom-ref": f"deb:{name}:{architecture}",
            "name": name,
            "version": version,
            "purl": purl,
            "licenses": [{"license": {"name": licence}} for licence in debian_licences(root, name)],
        }


def debian_licences(root: Path, package: str) -> list[str]:
    """Licence names of a package's copyright file: what it declares, else the common licences that it points to."""
    path = root / "usr/share/doc" / package / "copyright"
    # Some packages of one source share their folder by a link, which may be absolute in the image.
    folder = path.parent
    if folder.is_symlink():
        target = folder.readlink()
        path = (
            root / target.relative_to("/") if target.is_absolute() else folder.parent / target
        ) / "copyright"
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    machine_readable = re.search(r"^Format: ", text[:1000], re.MULTILINE)
    declared = re.findall(r"^License: *(\S[^\n]*)$", text, re.MULTILINE) if machine_readable else []
    common = [f"see {name}" for name in re.findall(r"/usr/share/common-licenses/([\w.+-]*\w)", text)]
    return list(dict.fromkeys(" ".join(name.split())[:200] for name in declared or common)) or [
        "see its copyright file"
    ]


def licence_list(name: str, components: Iterable[Json]) -> str:
    """The page that people read: one line a package."""
    lines = [f"# Licences in {name}", "", "| package | version | licence |", "|---|---|---|"]
    for component in components:
        said = [
            entry.get("expression") or entry["license"].get("id") or entry["license"]["name"]
            for entry in component["licenses"]
        ]
        lines.append(
            f"| `{component['name']}` | {component['version']} | {'; '.join(said) or '**not told**'} |"
        )
    return "\n".join(lines) + "\n"


def faults_of(text: str) -> str:
    """What CycloneDX's schema has against a bill of materials; empty: nothing."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    return str(JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) or "")


def main(arguments: list[str] | None = None) -> int:
    """Write both files; 1 when the bill is not valid or a package's licence cannot be told."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("name")
    parser.add_argument("--lock", type=Path, required=True)
    parser.add_argument("--python", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--root", type=Path)
    given = parser.parse_args(arguments)

    tool = Path(sys.executable).with_name("cyclonedx-py")
    read = subprocess.run(
        [tool, "environment", "--sv", SPEC_VERSION, "--of", "JSON", "--output-reproducible", "--mc-type", "application",
         "--pyproject", _HERE.parents[1] / "pyproject.toml", given.python],
        check=True, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    bom: Json = json.loads(read.stdout)
    told = tomllib.loads((_HERE / "licences.toml").read_text(encoding="utf-8"))
    lock = read_lock(given.lock.read_text(encoding="utf-8"))
    packages = python_components(bom, lock, told)
    if given.root and (fault := image_faults(given.root, lock)):
        print(f"sbom: {given.name}: {fault}", file=sys.stderr)
        return 1
    debian = list(debian_components(given.root)) if given.root else []
    bom["components"] = [*packages, *debian]
    bom["metadata"]["component"]["name"] = given.name
    kept = {component["bom-ref"] for component in bom["components"]} | {
        bom["metadata"]["component"]["bom-ref"]
    }
    bom["dependencies"] = [
        {**entry, "dependsOn": [ref for ref in entry.get("dependsOn", ()) if ref in kept]}
        for entry in bom["dependencies"]
        if entry["ref"] in kept
    ]
    given.output.mkdir(parents=True, exist_ok=True)
    text = json.dumps(bom, indent=2, sort_keys=True)
    (given.output / f"{given.name}.cdx.json").write_text(text + "\n", encoding="utf-8")
    (given.output / f"{given.name}.licences.md").write_text(
        licence_list(given.name, bom["components"]), encoding="utf-8"
    )
    faults = faults_of(text)
    untold = [component["name"] for component in bom["components"] if not component["licenses"]]
    result = {
        "image": given.name, "python": len(packages), "locked": len(lock), "debian": len(debian),
        "without_licence": untold, "valid": not faults,
    }  # fmt: skip
    print("RESULT", json.dumps(result))
    if faults:
        print(faults[:2000], file=sys.stderr)
    return 1 if faults or untold else 0


if __name__ == "__main__":
    sys.exit(main())
