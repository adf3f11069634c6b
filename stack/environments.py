"""Environments: sets of packages that nodes run on, each with a lock; which interpreter has the one that a node asks for.

The light nodes agree with each other and with the tests, so that `.venv` has theirs too. Engines whose packages exclude each
other get environments of their own below `.environments`, made by `setup/environment.sh` from the same locks as images are.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import re
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from stack.node_table import NodeRow, read_node_table

_PIN = re.compile(r"^([A-Za-z0-9][\w.-]*)(?:\[[\w,-]+\])?==([^\s;\\]+)\s*\\?$", re.MULTILINE)
_ROOT = Path(__file__).resolve().parent.parent
_STAMP = "lock.sha256"
"""File of an environment that has the digest of the lock that it was made from; `setup/environment.sh` writes it."""


class EnvironmentMissing(Exception):
    """No interpreter here has an environment's packages; the message says how to make one."""


class Environments:
    """The environments of one machine: the folder that they are made in, and the folder of their locks."""

    def __init__(self, folder: Path, locks: Path) -> None:
        self._folder = folder
        self._locks = locks

    def interpreter(self, name: str) -> str:
        """Return the Python that has an environment's packages, exactly as locked. Raises EnvironmentMissing.

        The interpreter that runs this is taken where it will do, as `.venv` does for `light`; an empty name asks for no other.
        """
        if not name:
            return sys.executable
        lock = self._locks / f"{name}.txt"
        try:
            text = lock.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise EnvironmentMissing(
                f"the environment {name} has no lock {lock}; `make lock` makes it"
            ) from None
        if all(_installed().get(package) == version for package, version in pins(text).items()):
            return sys.executable
        python = self._folder.absolute() / name / "bin" / "python"
        if not python.exists():
            raise EnvironmentMissing(
                f"the environment {name} is not made; `make environment name={name}` makes it"
            )
        if _stamp(self._folder / name) != hashlib.sha256(text.encode()).hexdigest():
            raise EnvironmentMissing(
                f"the environment {name} is of another lock; `make environment name={name}` makes it again"
            )
        return str(python)


def pins(lock: str) -> dict[str, str]:
    """Return what a lock pins: normalised package name to version. Lines for other platforms are left out."""
    return {_normal(name): version for name, version in _PIN.findall(lock)}


@cache
def _installed() -> dict[str, str]:
    found = importlib.metadata.distributions()
    return {_normal(each.metadata["Name"]): each.version for each in found}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _stamp(folder: Path) -> str:
    try:
        return (folder / _STAMP).read_text().strip()
    except OSError:
        return ""


def requirement_files(environment: str, rows: Sequence[NodeRow]) -> list[str]:
    """Return the files, below the repository's root, that an environment is locked out of: what its nodes ask for, and nodekit."""
    if environment == "core":
        return ["requirements/runtime.in", "requirements/core.in"]
    own = [
        _own_file(row.module, environment)
        for row in rows
        if environment in (row.environment, *row.alternatives)
    ]
    return ["requirements/runtime.in", "requirements/nodekit.in", *own]


def _own_file(module: str, environment: str) -> str:
    """Return a node's own file: one of another engine's environment stands in place of the usual one."""
    folder = Path(module.replace(".", "/"))
    special = folder / f"requirements-{environment}.in"
    return (special if (_ROOT / special).is_file() else folder / "requirements.in").as_posix()


def main(arguments: Sequence[str]) -> int:
    """Print what locks and images must know: environments' names (`--in-use`: no alternatives), or the files of a named one."""
    rows = read_node_table()
    in_use = ["core", *dict.fromkeys(row.environment for row in rows if row.environment)]
    names = list(dict.fromkeys([*in_use, *(name for row in rows for name in row.alternatives)]))
    if not arguments or arguments[0] == "--in-use":
        print("\n".join(in_use if arguments else names))
        return 0
    if arguments[0] not in names:
        print(f"no node of services/nodes.toml is on the environment {arguments[0]}", file=sys.stderr)
        return 1
    print("\n".join(requirement_files(arguments[0], rows)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
