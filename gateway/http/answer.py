"""Writes JSON answers, and answers 304 where a client has one already."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from aiohttp import web

from gateway.http.conditions import matches
from gateway.http.model import Answer
from gateway.http.route import JSON


def answer(body: Answer, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Write a JSON answer."""
    return web.Response(status=status, body=body.to_json(), content_type=JSON, headers=headers)


def tagged(request: web.Request, response: web.Response) -> web.Response:
    """Tag an answer with its content, and answer 304 to a client that has it already."""
    body = response.body
    assert isinstance(body, bytes)
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    if matches(request.headers.get("If-None-Match", ""), etag):
        return web.Response(status=304, headers=headers)
    response.headers.update(headers)
    return response
