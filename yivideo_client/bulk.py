"""The bytes of files over blocking sockets in threads: nothing to import that costs a start.

An event loop moves a file with two copies and a task switch a piece; here it only waits. What is small goes over `transport`.
"""

from __future__ import annotations

import asyncio
import http.client
import socket
import ssl
import threading
import urllib.request
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO, TypeVar
from urllib.parse import SplitResult, quote, unquote, urlencode, urljoin, urlsplit

import orjson

from yivideo_client.connection import Connection
from yivideo_client.errors import ApiError, api_error
from yivideo_client.landing import STALLED_SECONDS, Landing
from yivideo_client.sending import send_checked, send_in_kernel
from yivideo_client.tries import Broken

CONNECT_SECONDS = 10.0
_MAX_REFUSAL_BYTES = 1024 * 1024
_MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_THREADS = 16

T = TypeVar("T")
_FAULTS = (http.client.HTTPException, TimeoutError, ConnectionError, ssl.SSLError)


@dataclass(frozen=True)
class Reply:
    """The head of a good answer, and the body of a short one."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    crc32: str = ""
    """Of the bytes that were sent, where that was asked for: eight lower-case hex digits."""


@dataclass
class _Call:
    """What is under way in a thread; another may break it off."""

    open: http.client.HTTPConnection | None = None
    stopped: bool = False

    def break_off(self) -> None:
        self.stopped = True
        if self.open is not None and self.open.sock is not None:
            with suppress(OSError):
                self.open.sock.shutdown(socket.SHUT_RDWR)


@dataclass
class Bulk:
    """Connections to a gateway, and to the stores that it sends on to. Raises ApiError for a refusal, Broken for the rest."""

    connection: Connection
    _idle: dict[tuple[str, str], list[http.client.HTTPConnection]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _threads: ThreadPoolExecutor | None = None

    async def head(self, path: str, query: Mapping[str, str] | None = None) -> Reply:
        """Ask for a file's headers."""
        url = self._url(path, query)
        return await self._in_thread(lambda call: self._exchange(call, "HEAD", url, {}, None, _whole))

    async def body(self, path: str) -> bytes:
        """Return a short answer."""
        url = self._url(path, None)
        return (await self._in_thread(lambda call: self._exchange(call, "GET", url, {}, None, _whole))).body

    async def put(
        self,
        path: str,
        headers: Mapping[str, str],
        file: BinaryIO,
        size: int,
        *,
        query: Mapping[str, str] | None = None,
        sent: Callable[[int], None] | None = None,
        offset: int = 0,
        checked: bool = False,
    ) -> Reply:
        """Send `size` bytes of a file as a request's body; `sent` is told, in the event loop, how many have gone.

        `checked`: the reply says their CRC-32, taken piece by piece by the thread that sends. A SHA-256 takes 30 times as long,
        and with it the core on which a gateway of this machine receives.
        """
        url, tell = self._url(path, query), _in_loop(sent)
        send = send_checked if checked else send_in_kernel
        crc32 = ""

        def body(connection: http.client.HTTPConnection) -> None:
            nonlocal crc32
            crc32 = send(connection.sock, file, offset, size, tell)

        full = {**headers, "Content-Length": str(size)}
        reply = await self._in_thread(lambda call: self._exchange(call, "PUT", url, full, body, _whole))
        return replace(reply, crc32=crc32)

    async def get(
        self, path: str, headers: Mapping[str, str], landing: Landing, accept: Callable[[Reply], None],
        *, query: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        """Fetch a file, following redirects, to where it lands; `accept` looks at the head first, in a thread, and may raise."""
        url = self._url(path, query)

        def read(response: http.client.HTTPResponse, plain: bool) -> Reply:
            head = Reply(response.status, response.headers)  # type: ignore[arg-type] # a Message answers get() by any case
            accept(head)
            landing.fill(response, plain=plain)
            return head

        await self._in_thread(lambda call: self._exchange(call, "GET", url, dict(headers), None, read))

    def close(self) -> None:
        """Close what is open."""
        for connection in (one for idle in self._idle.values() for one in idle):
            connection.close()
        self._idle.clear()
        if self._threads is not None:
            self._threads.shutdown(wait=False)
            self._threads = None

    def _url(self, path: str, query: Mapping[str, str] | None) -> str:
        return f"{self.connection.url}{path}" + (f"?{urlencode(query)}" if query else "")

    async def _in_thread(self, work: Callable[[_Call], T]) -> T:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="yivideo-bulk")
        call = _Call()
        future = asyncio.get_running_loop().run_in_executor(self._threads, work, call)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            call.break_off()
            await asyncio.wait({future})
            if not future.cancelled():
                future.exception()
            raise

    def _exchange(
        self,
        call: _Call,
        method: str,
        url: str,
        headers: Mapping[str, str],
        send: Callable[[http.client.HTTPConnection], None] | None,
        read: Callable[[http.client.HTTPResponse, bool], Reply],
    ) -> Reply:
        ours = urlsplit(self.connection.url)
        for _ in range(_MAX_REDIRECTS):
            to = urlsplit(url)
            key = self.connection.api_key if (to.scheme, to.netloc) == (ours.scheme, ours.netloc) else None
            location = self._one(
                call, method, to, {**headers, **({"X-API-Key": key} if key else {})}, send, read
            )
            if isinstance(location, Reply):
                return location
            url = _sent_on(url, location)
        raise Broken("it was sent on too often")

    def _one(
        self,
        call: _Call,
        method: str,
        to: SplitResult,
        headers: Mapping[str, str],
        send: Callable[[http.client.HTTPConnection], None] | None,
        read: Callable[[http.client.HTTPResponse, bool], Reply],
    ) -> Reply | str:
        """Make one request; returns where it is sent on to, or what `read` makes of a good answer."""
        connection = call.open = self._taken(to)
        good = False
        try:
            if call.stopped:
                raise Broken("it was broken off")
            response = self._asked(connection, method, to, headers, send)
            if response.status in _REDIRECTS and (location := response.headers.get("Location")):
                return location
            if response.status >= 300 and response.status != 304:
                raise _refusal(response)
            reply = read(response, to.scheme == "http")
            good = response.isclosed() and not response.will_close
            return reply
        except _FAULTS as fault:
            raise Broken(str(fault) or type(fault).__name__) from fault
        finally:
            call.open = None
            self._given_back(to, connection, good)

    def _asked(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        to: SplitResult,
        headers: Mapping[str, str],
        send: Callable[[http.client.HTTPConnection], None] | None,
    ) -> http.client.HTTPResponse:
        target = (to.path or "/") + (f"?{to.query}" if to.query else "")
        if to.scheme == "http" and _proxy_of(to) is not None:
            target = to._replace(fragment="").geturl()
        if connection.sock is None:
            connection.connect()
            opened: Any = connection.sock  # None until now, as its stub has it for ever
            opened.settimeout(STALLED_SECONDS)
        connection.putrequest(method, target, skip_accept_encoding=True)
        for name, value in {"User-Agent": "yivideo-client", "Accept-Encoding": "identity", **headers}.items():
            connection.putheader(name, value)
        connection.endheaders()
        if send is not None:
            try:
                send(connection)
            except (BrokenPipeError, ConnectionResetError):
                # Whoever refuses a body answers before it has read it all.
                with suppress(*_FAULTS):
                    refused = connection.getresponse()
                    if refused.status >= 300:
                        return refused
                raise
        return connection.getresponse()

    def _taken(self, to: SplitResult) -> http.client.HTTPConnection:
        with self._lock:
            if idle := self._idle.get((to.scheme, to.netloc)):
                return idle.pop()
        proxy = _proxy_of(to)
        host, port = (proxy.hostname, proxy.port) if proxy else (to.hostname, to.port)
        if to.scheme == "https":
            context = self.connection.tls_context()
            made: http.client.HTTPConnection = http.client.HTTPSConnection(
                host or "", port, timeout=CONNECT_SECONDS, context=context
            )
            if proxy is not None:
                made.set_tunnel(to.hostname or "", to.port or 443, headers=_credentials(proxy))
            return made
        return http.client.HTTPConnection(host or "", port, timeout=CONNECT_SECONDS)

    def _given_back(self, to: SplitResult, connection: http.client.HTTPConnection, good: bool) -> None:
        if not good or self._threads is None:
            connection.close()
            return
        with self._lock:
            self._idle.setdefault((to.scheme, to.netloc), []).append(connection)


def _whole(response: http.client.HTTPResponse, plain: bool) -> Reply:
    return Reply(response.status, response.headers, response.read())  # type: ignore[arg-type]


def _sent_on(url: str, location: str) -> str:
    """Return where an answer leads to. Raises Broken for what is no address of a web server."""
    # Headers are read as latin-1; what is no ASCII in an address goes as the bytes that came.
    plain = quote(location.encode("latin-1", "replace"), safe="%/:?#[]@!$&'()*+,;=-._~")
    try:
        to = urlsplit(urljoin(url, plain))
        if to.scheme in ("http", "https") and to.hostname and to.port != 0:
            return to.geturl()
    except ValueError:
        pass
    raise Broken(f"it was sent on to {location[:200]!r}, which is no address")


def _refusal(response: http.client.HTTPResponse) -> ApiError:
    try:
        body = orjson.loads(response.read(_MAX_REFUSAL_BYTES))
    except (orjson.JSONDecodeError, *_FAULTS):
        body = None
    text = response.headers.get("Retry-After", "")
    return api_error(response.status, body, float(text) if text.isascii() and text.isdecimal() else None)


def _proxy_of(to: SplitResult) -> SplitResult | None:
    """Return the proxy that the environment names for an address, as curl and requests read it."""
    proxies = urllib.request.getproxies_environment()
    named = proxies.get(to.scheme) or proxies.get("all")
    if not named or urllib.request.proxy_bypass(to.netloc):
        return None
    return urlsplit(named if "//" in named else f"http://{named}")


def _credentials(proxy: SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    import base64

    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def _in_loop(told: Callable[[int], None] | None) -> Callable[[int], None]:
    """Return what may be called in any thread."""
    if told is None:
        return lambda count: None
    loop = asyncio.get_running_loop()

    def tell(count: int) -> None:
        loop.call_soon_threadsafe(told, count)

    return tell
