"""Placement: which nodes this stack starts, on which interpreter and addresses, and which it must leave out, and why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stack.environments import EnvironmentMissing, Environments
from stack.node_table import NodeRow, RemoteNode, find_missing, pick_nodes, read_node_table
from stack.part import PartFailed
from stack.settings import StackSection


@dataclass(frozen=True)
class PlacedNode:
    """A node that is started."""

    row: NodeRow
    interpreter: str
    addresses: tuple[str, ...]
    """One for each replica."""
    slots: int
    lacking: tuple[str, ...] = ()
    """What it prefers and does without here, with what to do about it, a sentence each."""

    @property
    def part_names(self) -> tuple[str, ...]:
        """Names of its processes among the stack's parts."""
        return tuple(part_name(self.row.name, number) for number in range(len(self.addresses)))


@dataclass(frozen=True)
class LeftOut:
    """A node that cannot be started here."""

    name: str
    reasons: tuple[str, ...]
    """What is missing and what to do about it, a sentence each."""

    def __str__(self) -> str:
        return f"{self.name}: {'; '.join(self.reasons)}"


def place_nodes(
    section: StackSection, new_address: Callable[[str], str]
) -> tuple[tuple[PlacedNode, ...], tuple[LeftOut, ...]]:
    """Return the nodes that start and those that are left out; `new_address` gives a part's address.

    Raises UnknownNode for a picked node that no table has, PartFailed for one that is missing and not optional.
    """
    rows = (*pick_nodes(read_node_table(section.node_table), section.only), *section.nodes)
    environments = Environments(section.environments, section.locks)
    placed, left_out = [], []
    for row in rows:
        reasons = find_missing(row.needs)
        try:
            interpreter = environments.interpreter(row.environment)
        except EnvironmentMissing as error:
            reasons.insert(0, str(error))
        if not reasons:
            count = section.replicas.get(row.name, row.replicas)
            addresses = tuple(new_address(part_name(row.name, number)) for number in range(count))
            slots, lacking = section.slots.get(row.name, row.slots), tuple(find_missing(row.prefers))
            placed.append(PlacedNode(row, interpreter, addresses, slots, lacking))
            continue
        absent = LeftOut(row.name, tuple(reasons))
        if not row.optional:
            raise PartFailed(f"{absent}")
        left_out.append(absent)
    return tuple(placed), tuple(left_out)


def addresses_by_task_prefix(
    nodes: Sequence[PlacedNode], remote: Sequence[RemoteNode] = ()
) -> list[dict[str, object]]:
    """Return what the scheduler is told of the nodes: those that the stack starts, and those that run elsewhere."""
    found: dict[str, list[str]] = {}
    for node in nodes:
        found.setdefault(node.row.task_prefix, []).extend(node.addresses)
    for elsewhere in remote:
        found.setdefault(elsewhere.node, []).extend(elsewhere.addresses)
    return [{"node": prefix, "addresses": addresses} for prefix, addresses in found.items()]


def start_commands(section: StackSection) -> dict[str, str]:
    """Return the command that starts each node of the table, by the name that its tasks begin with; none of what runs elsewhere."""
    elsewhere = {remote.node for remote in section.remote_nodes}
    return {
        row.task_prefix: f"make run nodes={row.name}"
        for row in read_node_table(section.node_table)
        if row.task_prefix not in elsewhere
    }


def part_name(kind: str, number: int) -> str:
    """Return the name of the part that is a kind's first, second, … process."""
    return kind if number == 0 else f"{kind}-{number + 1}"
