"""The least that can send a file over HTTP: one thread, one request a connection, the bytes from file to socket in the kernel.

What it takes is the floor under every download: client, loopback and disk are the same as with the gateway. A process of its
own: `python -m bench.files.bare_sender FOLDER` prints its port and serves GET `/<name>` until it is terminated.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from bench.files.film import Hashed
from bench.files.ways import Gateway
from bench.servers import ROOT

_REQUEST_BYTES = 4096


class BareSender(Gateway):
    """The gateway's client, at the bare sender."""

    def down(self, target: Hashed, path: str) -> None:
        """Get the file."""
        self._get(target, self._address, f"/{path}")


@contextlib.contextmanager
def running(folder: Path) -> Iterator[BareSender]:
    """Serve a folder for the time of a block."""
    command = [sys.executable, "-m", "bench.files.bare_sender", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as server:
        try:
            assert server.stdout is not None
            yield BareSender(f"127.0.0.1:{int(server.stdout.readline())}")
        finally:
            server.terminate()


def main() -> None:
    """Serve."""
    folder = Path(sys.argv[1])
    with socket.create_server(("127.0.0.1", 0)) as listening:
        print(listening.getsockname()[1], flush=True)
        while True:
            connection, _ = listening.accept()
            with connection:
                name = connection.recv(_REQUEST_BYTES).split(b" ")[1].decode().lstrip("/")
                with (folder / name).open("rb") as file:
                    size = (folder / name).stat().st_size
                    connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode())
                    connection.sendfile(file)


if __name__ == "__main__":
    main()
