"""`yivideo status`: the installation at a glance, out of /v1/status."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yivideo_client.cli.output import print_facts, print_table
from yivideo_client.errors import PermissionDenied, ServerError

if TYPE_CHECKING:
    from yivideo_client.client import AsyncClient

_WELL = ("ok", "healthy")


async def read_status(client: AsyncClient) -> dict[str, Any]:
    """Ask for the status; whether tasks can be run, where the key may not know more."""
    found: dict[str, Any]
    try:
        found = await client.call("GET", "/v1/status")
    except PermissionDenied:
        try:
            found = await client.call("GET", "/v1/tasks/health")
        except ServerError as error:
            found = {"status": "unhealthy", "message": error.message}
    return found


def is_well(found: dict[str, Any]) -> bool:
    """Whether nothing is wrong."""
    return found["status"] in _WELL


def print_status(found: dict[str, Any]) -> None:
    """Write it as tables."""
    if "parts" not in found:
        print_facts(found)
        return
    capacity = found["capacity"] or {}
    print_facts({"status": found["status"], "version": found["version"], **capacity})
    # A gateway of an earlier version tells what is wrong with nodes and no more.
    problems = found.get("problems")
    if problems is None:
        problems = [
            f"node {node['node']}: {one}" for node in found["nodes"] or [] for one in node["problems"]
        ]
    _table("PROBLEMS", [{"problem": one} for one in problems], ("problem",))
    _table("PARTS", found["parts"], ("name", "state", "replicas", "version", "milliseconds", "error"))
    nodes = found["nodes"] or []
    columns = (
        "node", "replicas", "slots", "free_slots", "running", "ready", "delayed", "blocked", "dead_letters",
        "oldest_wait_seconds",
    )  # fmt: skip
    _table("NODES", nodes, columns)
    replicas = [
        {**one, "node": node["node"], "engines": " ".join(one["engines"]), "models": " ".join(one["models"])}
        for node in nodes
        for one in node["replica_list"]
    ]
    _table("REPLICAS", replicas, ("node", "address", "state", "version", "engines", "models"))
    _table("GPUS", found["devices"] or [], ("device", "memory_mib", "leased_mib", "holders", "draining"))


def _table(title: str, rows: list[dict[str, Any]], columns: tuple[str, ...]) -> None:
    if rows:
        print(f"\n{title}")
        print_table([name.upper() for name in columns], [[row[name] for name in columns] for row in rows])
