"""Guarded requests against real servers on loopback: which addresses are really dialled."""

from __future__ import annotations

from collections.abc import Callable

import aiohttp
import pytest
from aiohttp import web

from runtime.egress import AddressBlocked, EgressPolicy
from runtime.egress_session import guarded_session
from runtime.errors import AddressRefused, Unavailable
from tests.runtime.web_room import egress, fetched, hello, serving


@pytest.mark.parametrize("entry", ["127.0.0.1:{port}", "127.0.0.1", "127.0.0.0/8", "127.0.0.0/8:{port}"])
async def test_an_allowed_address_is_called(entry: str) -> None:
    """Address and network entries open the real socket."""
    async with serving() as port, egress(entry.format(port=port)) as made:
        assert await fetched(made, f"http://127.0.0.1:{port}/") == "hello"


async def test_an_allowed_name_is_called_wherever_it_points() -> None:
    """A host entry trusts the name: its private address is dialled."""
    async with serving() as port:
        async with egress(f"hooks.test:{port}", names={"hooks.test": [["127.0.0.1"]]}) as made:
            assert await fetched(made, f"http://hooks.test:{port}/") == "hello"


async def test_an_address_on_another_port_is_not_called() -> None:
    """The port of an entry is part of it, for literals and for names that resolve."""
    async with serving() as port, serving() as other:
        async with egress(f"127.0.0.1:{port}", names={"hooks.test": [["127.0.0.1"]]}) as made:
            assert await fetched(made, f"http://hooks.test:{port}/") == "hello"
            for host in ("127.0.0.1", "hooks.test"):
                with pytest.raises(AddressRefused):
                    await fetched(made, f"http://{host}:{other}/")


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["::1"],
        ["10.0.0.1", "fd00::1"],
        ["::ffff:127.0.0.1"],
        ["169.254.169.254"],
        ["fe80::1%1"],
    ],
)
async def test_a_name_that_resolves_to_private_addresses_is_refused(addresses: list[str]) -> None:
    """Every DNS answer is looked at, and the client is told that it is refused, not that it is down."""
    async with serving() as port, egress(names={"evil.example": [addresses]}) as made:
        with pytest.raises(AddressRefused, match="not public"):
            await fetched(made, f"http://evil.example:{port}/")


async def test_only_the_allowed_answers_of_a_name_are_dialled() -> None:
    """Among several answers the private ones are left out, and the good one is used."""
    async with serving() as port:
        names = {"mixed.example": [["10.255.255.1", "127.0.0.1", "192.168.0.1"]]}
        async with egress(f"127.0.0.1:{port}", names=names) as made:
            assert await fetched(made, f"http://mixed.example:{port}/") == "hello"


async def test_a_name_that_is_rebound_is_refused_at_its_second_answer() -> None:
    """Each connection is checked for itself; an earlier good answer buys nothing."""
    async with serving() as port:
        names = {"turncoat.example": [["127.0.0.1"], ["127.0.0.2"]]}
        async with egress(f"127.0.0.1:{port}", names=names) as made:
            url = f"http://turncoat.example:{port}/"
            async with made.request(
                "GET", url, timeout_seconds=5, headers={"Connection": "close"}
            ) as response:
                assert response.status == 200
            with pytest.raises(AddressRefused):
                await fetched(made, url)


async def test_the_socket_itself_is_guarded() -> None:
    """A session used without the URL check still dials nothing private: literals skip the resolver, not the socket."""
    async with serving() as port, guarded_session(EgressPolicy()) as session:
        for host in ("127.0.0.1", "[::ffff:127.0.0.1]", "localhost"):
            with pytest.raises(aiohttp.ClientConnectorError) as caught:
                await session.get(f"http://{host}:{port}/")
            assert isinstance(caught.value.__cause__, AddressBlocked)


async def test_nothing_is_remembered_between_requests() -> None:
    """One user's cookies are never sent with another's request, and bytes are asked for unpacked."""
    seen: list[dict[str, str]] = []

    async def note(request: web.Request) -> web.Response:
        seen.append(dict(request.headers))
        return await hello(request)

    async with (
        serving(note) as port,
        egress(f"127.0.0.1:{port}", "hooks.test", names={"hooks.test": [["127.0.0.1"]]}) as made,
    ):
        for host in ("127.0.0.1", "127.0.0.1", "hooks.test", "hooks.test"):
            await fetched(made, f"http://{host}:{port}/")
    assert len(seen) == 4
    assert all("Cookie" not in headers and headers["Accept-Encoding"] == "identity" for headers in seen)


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy would dial for us, past every check."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with serving() as port, egress(f"127.0.0.1:{port}") as made:
        assert await fetched(made, f"http://127.0.0.1:{port}/") == "hello"


async def test_a_peer_that_is_not_there_is_unavailable(free_port: Callable[[], int]) -> None:
    """A refused connection is the peer's trouble, not the client's mistake."""
    port = free_port()
    async with egress("127.0.0.1") as made:
        with pytest.raises(Unavailable):
            await fetched(made, f"http://127.0.0.1:{port}/")


async def test_a_name_that_no_resolver_can_encode_is_refused() -> None:
    """A label of more than 63 characters is AddressRefused, not a fault of ours."""
    async with egress() as made:
        with pytest.raises(AddressRefused):
            await fetched(made, "http://" + "a" * 64 + ".example/")
