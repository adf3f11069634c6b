"""What the shell completes: names of task types and templates, and ids of tasks and workflows, as the installation has them now."""

from __future__ import annotations

import asyncio
from typing import Any

import typer

from yivideo_client.errors import ClientError

SECONDS = 2.0
"""A shell that waits longer for a word is worse than one that has none."""
_MOST_TASKS = 50


def task_names(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Return the task types that begin so, each with what it does."""
    found = _asked(context, "/v1/task-types").get("task_types", [])
    return [
        (one["name"], str(one.get("description", "")).partition("\n")[0])
        for one in found
        if one["name"].startswith(incomplete)
    ]


def task_ids(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Return the newest tasks whose ids begin so, each with its type and state."""
    found = _asked(context, f"/v1/tasks?page_size={_MOST_TASKS}").get("tasks", [])
    return [
        (one["task_id"], f"{one['task_name']} {one['state']}")
        for one in found
        if one["task_id"].startswith(incomplete)
    ]


def template_names(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Return the templates that begin so, each with what it does."""
    found = _asked(context, "/v1/workflows/templates").get("templates", [])
    return [
        (one["name"], str(one.get("description", "")).partition("\n")[0])
        for one in found
        if one["name"].startswith(incomplete)
    ]


def workflow_ids(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Return the newest workflows whose ids begin so, each with its template and state."""
    found = _asked(context, f"/v1/workflows?page_size={_MOST_TASKS}").get("workflows", [])
    return [
        (one["workflow_id"], f"{one['template'] or ''} {one['state']}")
        for one in found
        if one["workflow_id"].startswith(incomplete)
    ]


def _asked(context: typer.Context, path: str) -> dict[str, Any]:
    """Ask the installation that the words before name; nothing, and no word of it, when it does not answer soon."""
    import orjson

    from yivideo_client.bulk import Bulk
    from yivideo_client.connection import resolve

    root = context.find_root().params
    try:
        bulk = Bulk(resolve(root.get("url"), root.get("api_key"), profile=root.get("profile")))

        async def ask() -> bytes:
            async with asyncio.timeout(SECONDS):
                return await bulk.body(path)

        answer = orjson.loads(asyncio.run(ask()))
    except (ClientError, OSError, ValueError):
        return {}
    return answer if isinstance(answer, dict) else {}
