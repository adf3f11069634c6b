"""What the shell completes: names of task types and templates, and ids of tasks and workflows, as the installation has them now."""

from __future__ import annotations

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


def schema_of(context: typer.Context, name: str) -> dict[str, Any] | None:
    """Return the schema of a task type's input."""
    return _named(_asked(context, "/v1/task-types").get("task_types", []), name, "input_schema")


def parameters_of(context: typer.Context, name: str) -> dict[str, Any] | None:
    """Return the schema of a template's parameters."""
    return _named(_asked(context, "/v1/workflows/templates").get("templates", []), name, "parameters")


def _named(found: list[dict[str, Any]], name: str, part: str) -> dict[str, Any] | None:
    return next((one.get(part) for one in found if one["name"] == name), None)


def profiles(incomplete: str) -> list[str]:
    """Return the profiles that begin so."""
    import os

    from yivideo_client.connection import profile_names

    try:
        return [name for name in profile_names(os.environ) if name.startswith(incomplete)]
    except (ClientError, OSError):
        return []


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


def stored_paths(context: typer.Context, incomplete: str) -> list[str]:
    """Return what lies in the store and begins so, one level deep, as the shell shows files."""
    from urllib.parse import quote

    path = f"/v1/files/list/{quote(incomplete)}" if incomplete else "/v1/files/list"
    answer = _asked(context, f"{path}?recursive=false&page_size={_MOST_TASKS}")
    found = [one.get("file_path") for one in answer.get("files", ())]
    return [one for one in [*answer.get("prefixes", ()), *found] if one]


def _asked(context: typer.Context, path: str) -> dict[str, Any]:
    """Ask the installation that the words before name; nothing, and no word of it, when it does not answer soon."""
    import asyncio

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
