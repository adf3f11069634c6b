"""Addresses of tasks and files at this gateway."""

from __future__ import annotations

from functools import partial

from aiohttp import web

from gateway.installation import base_url
from results.file_links import download_link
from results.node_result import FileUrl


def task_path(task_id: str) -> str:
    """Return the address of a task."""
    return f"/v1/tasks/{task_id}"


def file_url(base: str) -> FileUrl:
    """Return a function that writes download URLs below a base such as `http://127.0.0.1:8788`."""
    return partial(download_link, base=base)


def links(request: web.Request) -> FileUrl:
    """Return what writes the download URLs of an answer to this request; most answers have none."""
    base = ""

    def url(bucket: str, path: str) -> str:
        nonlocal base
        base = base or base_url(request)
        return download_link(bucket, path, base=base)

    return url
