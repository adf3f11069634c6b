"""ModelEntry: what the manifest says of one model; one YAML file each in `manifest/`."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

MANIFEST = Path(__file__).with_name("manifest")
# Letters are listed: a counted `\w`, which is every alphabet's, costs 5 MiB of a process's memory each time it is compiled.
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
SafePath = Annotated[
    str,
    StringConstraints(
        pattern=r"^[A-Za-z0-9_@+-][A-Za-z0-9_.@+ -]*(/[A-Za-z0-9_@+-][A-Za-z0-9_.@+ -]*)*$", max_length=200
    ),
]


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class ModelFile(_Row):
    """One file of a model, as it is used."""

    path: SafePath
    """Name below the model's folder."""
    sha256: Sha256
    """Digest of its bytes."""
    size: int = Field(gt=0)
    """Bytes."""


class Member(_Row):
    """One file inside a package, or several that are joined to one."""

    members: tuple[str, ...] = Field(min_length=1)
    """Paths in the archive; a `*` stands for any run of characters but `/`, and must fit exactly one. More than one: joined in
    order."""
    path: SafePath
    """Name below the folder that is fetched into."""


class Package(_Row):
    """A package of a registry, opened as an archive: nothing of it is installed, imported or run."""

    kind: Literal["wheel", "sdist", "npm"]
    """What is fetched, and so by which client."""
    package: str = Field(pattern=r"^[@A-Za-z0-9][A-Za-z0-9_./-]{0,100}$")
    """Name in its registry."""
    version: str = Field(pattern=r"^[A-Za-z0-9_.+-]{1,50}$")
    """Exact version."""
    members: tuple[Member, ...] = Field(min_length=1)
    """What is taken out of it."""


class Packages(_Row):
    """A source of several packages, which together have all files."""

    kind: Literal["packages"]
    packages: tuple[Package, ...] = Field(min_length=1)
    """The packages. A member whose path ends in `.part<n>` is a piece: the pieces are joined in order of n."""


class Hub(_Row):
    """A public model hub, below the address in `YIVIDEO_MODELS_HUB`."""

    kind: Literal["hub"]
    repository: str = Field(pattern=r"^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$")
    """`owner/name`."""
    revision: str = Field(pattern=r"^[A-Za-z0-9_./-]{1,100}$")
    """Commit or tag."""


class License(_Row):
    """On which terms a model may be used."""

    code: str
    """SPDX expression of the code that goes with it."""
    weights: str
    """SPDX expression, or the name, of the licence of the weights."""
    needs_acceptance: bool = False
    """Whether somebody must accept the terms before it is fetched."""


class ModelEntry(_Row):
    """One model."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    """What engines ask for."""
    task: str
    """What it is for, in a few words."""
    engine: str
    """What loads it."""
    license: License
    """Its terms."""
    notice: str
    """Who made it, as its licence asks to say."""
    revision: str = ""
    """Version that results name; empty: the first letters of the largest file's digest."""
    default: bool = True
    """Whether `models fetch` without names takes it."""
    files: tuple[ModelFile, ...] = Field(min_length=1)
    """Its files."""
    sources: tuple[Hub | Package | Packages, ...] = ()
    """Where they can be had, tried in order after the local folder and the mirror, which any model may be in."""
    convert: str = Field("", pattern=r"^$|^[\w.]+:\w+$")
    """`module:function` that makes the files out of fetched ones: called with the fetched and the target folder. Empty: they
    are the same."""

    @model_validator(mode="after")
    def _one_of_each(self) -> ModelEntry:
        paths = [file.path for file in self.files]
        if len(set(paths)) != len(paths):
            raise ValueError("two files have one path")
        return self

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def version(self) -> str:
        """What results call this very model."""
        return self.revision or max(self.files, key=lambda file: file.size).sha256[:12]


@cache
def manifest() -> dict[str, ModelEntry]:
    """Read all entries, by name."""
    entries = {}
    for path in sorted(MANIFEST.glob("*.yaml")):
        entry = ModelEntry.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
        if entry.name != path.stem:
            raise ValueError(f"{path.name} is of {entry.name}")
        entries[entry.name] = entry
    return entries


def piece_number(path: str) -> tuple[str, int] | None:
    """Return the whole's path and the number of a piece; None for a whole file."""
    match = re.fullmatch(r"(.+)\.part(\d+)", path)
    return (match[1], int(match[2])) if match else None
