"""The HTTP server behind /metrics: a thread that sleeps until somebody asks.

The client library's own looks twice a second whether it should end, in every process, for as long as nothing happens.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from socketserver import TCPServer, ThreadingMixIn
from types import TracebackType
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import make_wsgi_app


class _Handler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        """Log nothing."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    timeout = None

    def server_bind(self) -> None:
        """Bind without asking the resolver for this machine's name, as the base class does."""
        TCPServer.server_bind(self)
        host, self.server_port = self.server_address[:2]
        self.server_name = str(host)
        self.setup_environ()


class MetricsServer:
    """Serves /metrics for the time of a `with` block. Raises OSError when nobody can listen there."""

    def __init__(self, host: str, port: int) -> None:
        (family, _, _, _, address), *_ = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        server_class = type("_Server", (_Server,), {"address_family": family})
        self._server: _Server = server_class(address[:2], _Handler)
        self._server.set_app(make_wsgi_app())
        self._ended = False
        self._thread = threading.Thread(target=self._serve, name="metrics", daemon=True)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._server.server_port

    def _serve(self) -> None:
        while not self._ended:
            self._server.handle_request()

    def __enter__(self) -> MetricsServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended = True
        with contextlib.suppress(OSError):
            self._server.socket.shutdown(socket.SHUT_RDWR)  # wakes the thread, whose accept fails
        self._thread.join()
        self._server.server_close()
