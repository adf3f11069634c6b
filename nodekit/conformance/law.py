"""A law of the contract, and what can come of judging a node by it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from nodekit.conformance.node_caller import NodeCaller

Check = Callable[[NodeCaller], Awaitable[None]]


class Broken(Exception):
    """The node breaks the law; the text says what it did and what it should have done."""


class NotJudged(Exception):
    """The law cannot be judged here; the text says what is missing."""


@dataclass(frozen=True)
class Law:
    """One law."""

    name: str
    """Short and stable, for reports and `--only`."""
    text: str
    """What a node does, one sentence."""
    check: Check
    """Returns when the node keeps it. Raises Broken or NotJudged."""
    waits: bool = False
    """Whether it mostly waits, for seconds: such laws are judged side by side."""


LAWS: list[Law] = []
"""All laws, in the order in which they are judged; filled by the modules that declare them."""


def law(name: str, *, waits: bool = False) -> Callable[[Check], Check]:
    """Declare a law; the function's docstring is its text."""

    def declare(check: Check) -> Check:
        LAWS.append(Law(name, " ".join((check.__doc__ or "").split()), check, waits))
        return check

    return declare


def require(holds: object, reason: str) -> None:
    """Raise Broken with the reason unless something holds."""
    if not holds:
        raise Broken(reason)
