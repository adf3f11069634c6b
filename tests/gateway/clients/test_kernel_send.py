"""Downloads from a folder on this machine go from file to socket in the kernel; slow, absent and strange clients are bounded."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from tests.gateway.clients.test_in_place import FILM, Shared, StartShared, _open_under, body, fetched, start

__all__ = ["start"]

pytestmark = pytest.mark.trial("10.20")


@pytest.fixture(params=["uvloop", "asyncio"])
def event_loop_policy(request: pytest.FixtureRequest) -> asyncio.AbstractEventLoopPolicy:
    """The gateway runs on uvloop, and is imported by programs that do not."""
    return uvloop.EventLoopPolicy() if request.param == "uvloop" else asyncio.DefaultEventLoopPolicy()


class Kernel:
    """Looks at, and may replace, what `sendfile` does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.real: Callable[..., int] = os.sendfile
        self.sent_bytes = 0
        self.error: OSError | None = None
        monkeypatch.setattr(os, "sendfile", self.sendfile)

    def sendfile(self, *arguments: Any) -> int:
        """Send, and count."""
        if self.error is not None:
            raise self.error
        size = self.real(*arguments)
        self.sent_bytes += size
        return size


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    return Kernel(monkeypatch)


async def put(shared: Shared, path: str = "f") -> None:
    async with shared.harness.http.put(f"/v1/files/{path}", data=body(FILM)) as response:
        assert response.status == 200


async def closed(shared: Shared) -> None:
    """Wait until nobody has a content open."""
    async with asyncio.timeout(10):
        while _open_under(shared.root / "blobs"):
            await asyncio.sleep(0.01)


async def test_every_byte_goes_through_the_kernel(start: StartShared, kernel: Kernel) -> None:
    """Whole and by range, one after another on one connection: exactly these bytes, and none of them came into the process."""
    async with start() as shared:
        await put(shared)
        assert await fetched(shared.harness, "f") == (200, FILM)
        assert kernel.sent_bytes == len(FILM)
        for first, last in ((0, 0), (4095, 4097), (5, 5_000_000), (len(FILM) - 1, len(FILM) - 1)):
            got = await fetched(shared.harness, "f", Range=f"bytes={first}-{last}")
            assert got == (206, FILM[first : last + 1])
        await closed(shared)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS])
async def test_where_the_kernel_cannot_the_bytes_are_copied(
    start: StartShared, kernel: Kernel, number: int
) -> None:
    """A file system or socket that refuses costs speed and nothing else."""
    kernel.error = OSError(number, "no")
    async with start() as shared:
        await put(shared)
        assert await fetched(shared.harness, "f") == (200, FILM)
        await closed(shared)


def asking(shared: Shared, path: str = "f", receive_bytes: int = 4096) -> socket.socket:
    """Ask for a file by a connection that takes little unless it is read from."""
    host, _, port = shared.harness.address.partition(":")
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    made.connect((host, int(port)))
    made.sendall(f"GET /v1/files/download/{path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return made


async def test_a_client_that_takes_nothing_is_dropped(start: StartShared, kernel: Kernel) -> None:
    """After the stalled time its connection ends in the middle, and nothing of it is held."""
    async with start(stalled_client_seconds=0.3) as shared:
        await put(shared)
        client = asking(shared)
        async with asyncio.timeout(10):
            while not kernel.sent_bytes:
                await asyncio.sleep(0.01)
        await closed(shared)
        assert kernel.sent_bytes < len(FILM)
        client.close()


async def test_a_client_that_leaves_ends_its_download(start: StartShared, kernel: Kernel) -> None:
    """Also one that leaves while nothing can be sent: no descriptor stays, and others go on."""
    async with start() as shared:
        await put(shared)
        before = len(list(Path("/proc/self/fd").iterdir()))
        clients = [asking(shared) for _ in range(8)]
        async with asyncio.timeout(10):
            while not kernel.sent_bytes:
                await asyncio.sleep(0.01)
        for client in clients:
            client.close()
        await closed(shared)
        assert await fetched(shared.harness, "f") == (200, FILM)
        async with asyncio.timeout(10):
            while len(list(Path("/proc/self/fd").iterdir())) > before + 2:
                await asyncio.sleep(0.01)


async def test_a_slow_client_gets_it_all(start: StartShared, kernel: Kernel) -> None:
    """One that takes its time, but takes, is waited for; what is deleted meanwhile it still gets."""
    async with start() as shared:
        await put(shared)
        client = asking(shared, receive_bytes=32 * 1024)
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        got = await loop.sock_recv(client, 1)
        async with shared.harness.http.delete("/v1/files/f") as response:
            assert response.status == 200
        while len(got) < len(FILM) or not got.endswith(FILM[-16:]):
            piece = await asyncio.wait_for(loop.sock_recv(client, 256 * 1024), 10)
            assert piece
            got += piece
        assert got.partition(b"\r\n\r\n")[2] == FILM
        client.close()


async def test_a_file_that_is_cut_short_breaks_the_answer(start: StartShared, kernel: Kernel) -> None:
    """A content that ends too early is never taken for a whole one: the connection breaks."""
    async with start() as shared:
        await put(shared)
        client = asking(shared)
        client.settimeout(10)
        async with asyncio.timeout(10):
            while not kernel.sent_bytes:
                await asyncio.sleep(0.01)
        [blob] = [path for path in (shared.root / "blobs").rglob("*") if path.is_file()]
        os.truncate(blob, len(FILM) // 2)
        got = await asyncio.to_thread(_all_of, client)
        assert len(got) < len(FILM)
        await closed(shared)


def _all_of(client: socket.socket) -> bytes:
    got = bytearray()
    try:
        while piece := client.recv(1024 * 1024):
            got += piece
    except ConnectionError:
        pass
    client.close()
    return bytes(got)
