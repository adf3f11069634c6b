"""What a request does when the server is busy, away, wrong or elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import web

from tests.client.conftest import QUICK, ScriptedServer, broken_off
from yivideo_client import ApiError, AsyncClient, Connection, ConnectionFailed, errors

ACCEPTED = {"task_id": "t", "status": "pending", "state": "pending", "message": "accepted"}


def refusal(status: int, code: str, **headers: str) -> web.Response:
    """An error answer as the gateway writes it."""
    return web.json_response(
        {"code": code, "detail": "no", "request_id": "r1", "errors": [{"pointer": "/a", "detail": "bad"}]},
        status=status,
        headers=headers,
    )


async def test_a_submission_is_repeated_under_one_key(server: ScriptedServer, client: AsyncClient) -> None:
    """However a submission breaks, what is sent again is the same request with the same Idempotency-Key."""

    async def answer(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        assert body == {"task_name": "a.b", "input_data": {"x": 1}, "priority": 3}
        match len(server.seen):
            case 1:
                return broken_off(request)
            case 2:
                return refusal(503, "UNAVAILABLE")
            case _:
                return web.json_response(ACCEPTED, status=202)

    server.handler = answer
    task = await client.tasks.submit("a.b", {"x": 1}, priority=3)
    assert (task.task_id, task.task_name, task.ended) == ("t", "a.b", False)
    assert len(server.seen) == 3
    assert len({request.headers["Idempotency-Key"] for request in server.seen}) == 1


async def test_what_has_another_effect_each_time_is_not_repeated(
    server: ScriptedServer, client: AsyncClient
) -> None:
    """A retry whose answer was lost may have been taken: it is made once, and its caller hears that."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return broken_off(request)

    server.handler = answer
    with pytest.raises(ConnectionFailed, match=server.url):
        await client.tasks.retry("t")
    assert len(server.seen) == 1


async def test_it_gives_up(server: ScriptedServer, client: AsyncClient) -> None:
    """A server that stays busy is asked as often as the backoff says, then its own error is raised."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return refusal(429, "TOO_MANY_TASKS", **{"Retry-After": "0"})

    server.handler = answer
    with pytest.raises(errors.TooManyRequests) as refused:
        await client.tasks.get("t")
    assert (refused.value.code, refused.value.status, refused.value.retry_after_seconds) == (
        "TOO_MANY_TASKS",
        429,
        0,
    )
    assert len(server.seen) == QUICK.attempts


async def test_a_long_retry_after_is_the_callers_to_wait_for(
    server: ScriptedServer, client: AsyncClient
) -> None:
    """A wait of minutes is not slept through in silence."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return refusal(429, "TOO_MANY_TASKS", **{"Retry-After": "3600"})

    server.handler = answer
    with pytest.raises(errors.TooManyRequests):
        await client.tasks.get("t")
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.InvalidRequest),
        (401, errors.Unauthenticated),
        (403, errors.PermissionDenied),
        (404, errors.NotFound),
        (409, errors.Conflict),
        (422, errors.InvalidRequest),
        (500, errors.ServerError),
    ],
)
async def test_errors_are_typed(
    server: ScriptedServer, client: AsyncClient, status: int, kind: type[ApiError]
) -> None:
    """Each status has its class, with code, request and the fields at fault."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return refusal(status, "SOME_CODE")

    server.handler = answer
    with pytest.raises(kind) as refused:
        await client.tasks.get("t")
    error = refused.value
    assert (error.code, error.request_id, error.fields[0].pointer) == ("SOME_CODE", "r1", "/a")


async def test_a_proxys_error_is_an_error(server: ScriptedServer, client: AsyncClient) -> None:
    """An answer that is not ours, HTML of a proxy, still has its status; and a body that is no JSON is no result."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(text="<html>", status=404 if "gone" in request.path else 200)

    server.handler = answer
    with pytest.raises(errors.NotFound, match="HTTP_404"):
        await client.tasks.get("gone")
    with pytest.raises(ConnectionFailed, match="no JSON"):
        await client.tasks.get("t")


async def test_nobody_there() -> None:
    """An address where nothing listens is named."""
    async with AsyncClient(Connection("http://127.0.0.1:9"), backoff=QUICK) as client:
        with pytest.raises(ConnectionFailed, match=r"http://127\.0\.0\.1:9 cannot be reached"):
            await client.tasks.get("t")


async def test_ids_are_quoted(server: ScriptedServer, client: AsyncClient) -> None:
    """An id is one segment of the path whatever is in it."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.json_response({**ACCEPTED, "task_id": "x"})

    server.handler = answer
    await client.tasks.get("a/../b?c#d")
    assert server.seen[0].raw_path == "/v1/tasks/a%2F..%2Fb%3Fc%23d"


async def test_the_key_goes_to_the_gateway_only(
    server: ScriptedServer, client: AsyncClient, tmp_path: Path
) -> None:
    """A download that is sent on to another origin takes the key to the gateway and not there."""
    store = ScriptedServer()

    async def content(request: web.Request) -> web.StreamResponse:
        return web.Response(body=b"abc", headers={"ETag": '"1"'})

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.method == "HEAD":
            return web.Response(headers={"ETag": '"1"', "Content-Length": "3"})
        return web.Response(status=307, headers={"Location": f"{store.url}/bucket/x?signature=1%2B2"})

    store.handler, server.handler = content, answer
    async with store.running():
        assert await client.files.download("x", tmp_path / "x") == 3
    assert [request.headers.get("X-API-Key") for request in server.seen] == ["yiv_secret"] * 2
    assert "X-API-Key" not in store.seen[0].headers
    assert store.seen[0].raw_path == "/bucket/x?signature=1%2B2"
