"""pytest-grpc with our servers: its sync stub fixtures, over real sockets, against asyncio rooms.

pytest-grpc knows only grpcio's sync server. A test module here says `room` (its async server) and `grpc_stub_cls`; the fixtures
below take the place of the plugin's server, and its `grpc_create_channel`, `grpc_channel` and `grpc_stub` work as ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager

import pytest

from tests.contracts.rooms import in_a_thread

Room = Callable[[], AbstractAsyncContextManager[str]]


@pytest.fixture(scope="module")
def grpc_server(request: pytest.FixtureRequest, room: Room) -> Iterator[str]:
    """The room, running; gives its address."""
    if request.config.getoption("grpc-fake"):
        pytest.fail("the contract tests speak to real servers: leave --grpc-fake-server out")
    with in_a_thread(room) as address:
        yield address


@pytest.fixture(scope="module")
def grpc_addr(grpc_server: str) -> str:
    """Where the plugin's channels connect to."""
    return grpc_server
