"""Redirects of guarded requests: each hop is a new address that somebody else chose."""

from __future__ import annotations

import pytest
from aiohttp import web

from runtime.errors import AddressRefused, InvalidArgument
from tests.runtime.web_room import Handler, egress, fetched, serving


def _redirecting(location: str | None, status: int = 302) -> Handler:
    async def handler(request: web.Request) -> web.Response:
        headers = {"Location": location} if location is not None else {}
        return web.Response(status=status, headers=headers)

    return handler


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1:{other}/", "http://127.1:{other}/", "//127.0.0.1:{other}/", "http://localhost:{other}/",
        "http://inside.example:{other}/", "http://169.254.169.254/latest/meta-data/", "file:///etc/passwd",
        "http://user:pw@127.0.0.1:{port}/", "http://[::1", "mailto:a@b", "ftp://127.0.0.1:{port}/",
    ],
)  # fmt: skip
async def test_a_redirect_cannot_leave_the_policy(location: str) -> None:
    """Each hop is checked like the first address, also when the first was allowed by name."""
    seen: list[str] = []

    async def secret(request: web.Request) -> web.Response:
        seen.append(request.path)
        return web.Response(text="secret")

    names = {"hooks.test": [["127.0.0.1"]], "inside.example": [["127.0.0.1"]]}
    async with serving(secret) as other:

        async def away(request: web.Request) -> web.Response:
            target = location.format(other=other, port=request.url.port)
            return web.Response(status=302, headers={"Location": target})

        async with serving(away) as port, egress(f"hooks.test:{port}", names=names) as made:
            with pytest.raises(AddressRefused):
                await fetched(made, f"http://hooks.test:{port}/", max_redirects=3)
    assert seen == []


async def test_a_redirect_within_the_policy_is_followed_up_to_the_limit() -> None:
    """Relative and absolute hops are followed; one too many is the caller's error."""

    async def countdown(request: web.Request) -> web.Response:
        left = int(request.path.strip("/"))
        if left:
            return web.Response(status=302, headers={"Location": f"/{left - 1}"})
        return web.Response(text="there")

    async with serving(countdown) as port, egress(f"127.0.0.1:{port}") as made:
        assert await fetched(made, f"http://127.0.0.1:{port}/3", max_redirects=3) == "there"
        with pytest.raises(InvalidArgument, match="more than 3 redirects"):
            await fetched(made, f"http://127.0.0.1:{port}/4", max_redirects=3)


@pytest.mark.parametrize(("method", "redirects"), [("GET", 0), ("POST", 3)])
async def test_a_redirect_is_returned_as_it_is(method: str, redirects: int) -> None:
    """A callback's redirect is an answer, not a way; a POST is never sent to a second address."""
    async with serving(_redirecting("http://127.0.0.1:1/")) as port, egress(f"127.0.0.1:{port}") as made:
        url = f"http://127.0.0.1:{port}/"
        async with made.request(method, url, timeout_seconds=5, max_redirects=redirects) as response:
            assert response.status == 302


async def test_a_redirect_without_an_address_is_an_answer() -> None:
    """Nothing to follow: the response itself is given."""
    async with serving(_redirecting(None)) as port, egress(f"127.0.0.1:{port}") as made:
        async with made.request(
            "GET", f"http://127.0.0.1:{port}/", timeout_seconds=5, max_redirects=3
        ) as response:
            assert response.status == 302


async def test_credentials_do_not_follow_to_another_origin() -> None:
    """Headers that the caller added stay with the origin they were meant for; Range goes along."""
    seen: list[dict[str, str]] = []

    async def note(request: web.Request) -> web.Response:
        seen.append(dict(request.headers))
        return web.Response()

    async with serving(note) as other, serving(_redirecting(f"http://127.0.0.1:{other}/")) as port:
        async with egress("127.0.0.1") as made:
            headers = {"Authorization": "Bearer x", "X-Api-Key": "y", "Range": "bytes=5-"}
            await fetched(made, f"http://127.0.0.1:{port}/", max_redirects=1, headers=headers)
    assert "Authorization" not in seen[0]
    assert "X-Api-Key" not in seen[0]
    assert seen[0]["Range"] == "bytes=5-"
