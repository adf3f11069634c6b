"""One thing that is wrong with the manifests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["invalid", "not in code"]


@dataclass(frozen=True)
class Finding:
    """`invalid`: Kubernetes, or a rule of ours, would not have it. `not in code`: it names what no process of ours has."""

    kind: Kind
    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what} [{self.kind}]"


def invalid(where: str, what: str) -> Finding:
    """Return a finding about form."""
    return Finding("invalid", where, what)


def not_in_code(where: str, what: str) -> Finding:
    """Return a finding about a name."""
    return Finding("not in code", where, what)
