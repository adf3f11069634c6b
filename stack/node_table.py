"""The node table: which nodes the stack can start, each with what it needs; `services/nodes.toml` and the user's own."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

import services
from runtime.settings import Section

NODE_TABLE = Path(services.__file__).with_name("nodes.toml")
"""The table of the nodes that come with YiVideo."""


class UnknownNode(Exception):
    """Somebody picked a node that the table does not have; the message names those it has."""


class Needs(Section):
    """What should be on this machine for a node."""

    models: tuple[str, ...] = ()
    """Entries of the model store."""
    commands: tuple[str, ...] = ()
    """Programs on PATH."""


class NodeRow(Section):
    """One node of the stack."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")
    """What it is called here: in `make run nodes=…`, logs and folders."""
    module: str = Field(pattern=r"^[A-Za-z_][\w.]*$")
    """Module that `python -m` starts it by."""
    node: str = Field("", pattern=r"^([a-z][a-z0-9_]{0,62})?$")
    """Name that its tasks begin with; empty: `name`."""
    slots: int = Field(2, ge=1, le=64)
    """Tasks that one process of it runs at once."""
    replicas: int = Field(1, ge=1, le=8)
    """Processes of it."""
    environment: str = Field("", pattern=r"^([a-z][a-z0-9_-]{0,62})?$")
    """Environment that it runs on; empty: the stack's own."""
    alternatives: tuple[str, ...] = ()
    """Environments that it can run on in place of that one, each with a `requirements-<environment>.in` beside its module."""
    needs: Needs = Needs()
    """What it cannot do without."""
    prefers: Needs = Needs()
    """What it does better with: without it the node starts with a lesser engine."""
    optional: bool = True
    """Whether the rest starts without it."""

    @property
    def task_prefix(self) -> str:
        """Name that its tasks begin with."""
        return self.node or self.name


class RemoteNode(Section):
    """A node that runs already, wherever and in whatever language."""

    node: str = Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")
    """Its name, the first part of its task names."""
    addresses: tuple[str, ...] = Field(min_length=1)
    """`host:port` or `unix:/path` of each replica."""


def read_node_table(path: Path = NODE_TABLE) -> tuple[NodeRow, ...]:
    """Read a table. Raises OSError, tomllib.TOMLDecodeError and pydantic's ValidationError for one that cannot be used."""
    rows = tomllib.loads(path.read_text(encoding="utf-8"))
    return tuple(NodeRow.model_validate({"name": name, **row}) for name, row in rows.items())


def pick_nodes(rows: Sequence[NodeRow], names: Sequence[str]) -> tuple[NodeRow, ...]:
    """Return the named rows in the table's order; all when no name is given. Raises UnknownNode."""
    unknown = set(names) - {row.name for row in rows}
    if unknown:
        known = ", ".join(row.name for row in rows)
        raise UnknownNode(f"no node is called {', '.join(sorted(unknown))}; there are {known}")
    return tuple(row for row in rows if not names or row.name in names)


def find_missing(needs: Needs) -> list[str]:
    """Return a sentence for each need that this machine does not meet, with what to do about it."""
    missing = [
        f"the command {command} is not on PATH; install the package that has it"
        for command in needs.commands
        if shutil.which(command) is None
    ]
    if needs.models:
        # The store comes with nodekit, which takes its time to import; most nodes need no model.
        from nodekit.models import ModelMissing, model_store

        store = model_store()
        for name in needs.models:
            try:
                if not store.has(name):
                    store.folder(name)
            except ModelMissing as error:
                missing.append(error.message)
    return missing
