"""One HTTP session with a gateway: requests with deadlines, repeated where repeating has no second effect."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote, urlsplit

import orjson

from yivideo_client.backoff import Backoff
from yivideo_client.bulk import Bulk
from yivideo_client.connection import Connection
from yivideo_client.errors import ApiError, api_error
from yivideo_client.tries import FAULTS, Broken, Reach, Tries

if TYPE_CHECKING:
    import aiohttp

CALL_SECONDS = 30.0
STALLED_SECONDS = 60.0
"""Longest silence of a peer in the middle of a transfer or a stream."""
MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""Longest JSON answer that is read."""
MAX_REDIRECTS = 5
_CALLS_AT_ONCE = 64
"""Short calls under way; more wait for their turn, and a call's time begins when it has it."""
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Transport:
    """Makes requests. Open it with `async with`; one for as many requests as one likes, in one event loop."""

    def __init__(self, connection: Connection, backoff: Backoff | None = None) -> None:
        self.connection = connection
        self.backoff = backoff or Backoff()
        self.reach = Reach()
        self.bulk = Bulk(connection)
        """For the bytes of files."""
        self._turns = asyncio.Semaphore(_CALLS_AT_ONCE)
        self._session: aiohttp.ClientSession | None = None
        self._is_open = False

    async def __aenter__(self) -> Self:
        self._is_open = True
        return self

    def _opened(self) -> aiohttp.ClientSession:
        """Return the session; it is made when it is first needed, because its library is half of a short command's time."""
        import aiohttp

        assert self._is_open, "open the client with `async with`"
        if self._session is None:
            context = self.connection.tls_context()
            # Streams and calls that are held have a connection each, as many as are asked for; the others take turns in `call`.
            connector = aiohttp.TCPConnector(ssl=context, limit=0)
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=10.0, sock_read=STALLED_SECONDS)
            self._session = aiohttp.ClientSession(
                connector=connector, timeout=timeout, headers={"User-Agent": "yivideo-client"}, trust_env=True
            )
        return self._session

    async def __aexit__(self, *_: object) -> None:
        self._is_open = False
        self.bulk.close()
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def call(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        repeatable: bool | None = None,
        seconds: float = CALL_SECONDS,
    ) -> Any:
        """Make a request and return the parsed JSON of its answer, None for an empty one.

        It is made again, after a wait, when the connection breaks or the server says that it is busy, if `repeatable`
        (default: every method but POST and PATCH). `seconds` bounds one attempt. Raises ApiError, ConnectionFailed.
        """
        tries = self.tries(repeatable=method not in ("POST", "PATCH") if repeatable is None else repeatable)
        while True:
            try:
                async with (
                    self._turns if seconds <= CALL_SECONDS else nullcontext(),
                    asyncio.timeout(seconds),
                    self.request(method, path, json=body, query=query, headers=headers) as response,
                ):
                    answer = await read_json(response)
                    self.reach.heard = True
                    return answer
            except FAULTS as fault:
                await tries.after(fault)

    async def read(self, path: str) -> Any:
        """Return the JSON of a GET that is answered at once, without loading the library that `call` and streams need."""
        tries = self.tries()
        while True:
            try:
                try:
                    answer = orjson.loads(await self.bulk.body(path))
                except orjson.JSONDecodeError:
                    raise Broken(f"{path} answered with something that is no JSON") from None
                self.reach.heard = True
                return answer
            except FAULTS as fault:
                await tries.after(fault)

    def tries(self, *, repeatable: bool = True) -> Tries:
        """Return the attempts at one piece of work with this server."""
        return Tries(self.backoff, self.connection.url, repeatable=repeatable, reach=self.reach)

    @asynccontextmanager
    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        json: Mapping[str, Any] | None = None,
        data: Any = None,
        follow: bool = False,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Make one request, once. Raises ApiError for an answer of 400 and above, and what `tries.BROKEN` lists, also in the block.

        With `follow` a redirect is followed; the key goes to the gateway alone, never to where it points.
        """
        session = self._opened()
        import aiohttp

        url = self.connection.url + path
        try:
            for _ in range(MAX_REDIRECTS):
                async with session.request(
                    method,
                    url,
                    params=query if url == self.connection.url + path else None,
                    headers={
                        **self._key(url),
                        **({"Content-Type": "application/json"} if json is not None else {}),
                        **(headers or {}),
                    },
                    data=orjson.dumps(json) if json is not None else data,
                    allow_redirects=False,
                ) as response:
                    if follow and response.status in _REDIRECTS and "Location" in response.headers:
                        url = str(response.url.join(_location(response)))
                        continue
                    if response.status >= 300 and response.status != 304:
                        raise await _refusal(response)
                    yield response
                    return
        except (aiohttp.ClientError, ssl.SSLError) as error:
            raise Broken(str(error) or type(error).__name__) from error
        raise Broken("it was sent on too often")

    def _key(self, url: str) -> dict[str, str]:
        ours, theirs = urlsplit(self.connection.url), urlsplit(url)
        if self.connection.api_key and (ours.scheme, ours.netloc) == (theirs.scheme, theirs.netloc):
            return {"X-API-Key": self.connection.api_key}
        return {}


def _location(response: aiohttp.ClientResponse) -> Any:
    from yarl import URL

    return URL(response.headers["Location"], encoded=True)


def quoted(path: str) -> str:
    """Write an object path or an id as part of a URL's path."""
    return quote(path, safe="/-._~")


async def read_json(response: aiohttp.ClientResponse) -> Any:
    """Return an answer's JSON, None for an empty one. Raises Broken when it is none, or too long."""
    content = await response.content.read(MAX_ANSWER_BYTES + 1)
    parts = [content]
    while content:
        content = await response.content.read(MAX_ANSWER_BYTES + 1)
        parts.append(content)
        if sum(map(len, parts)) > MAX_ANSWER_BYTES:
            raise Broken(f"an answer of more than {MAX_ANSWER_BYTES} bytes")
    body = b"".join(parts)
    if not body:
        return None
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Broken(f"{response.url.path} answered with something that is no JSON") from error


async def _refusal(response: aiohttp.ClientResponse) -> ApiError:
    try:
        body = await read_json(response)
    except Broken:
        body = None
    return api_error(response.status, body, _retry_after(response))


def _retry_after(response: aiohttp.ClientResponse) -> float | None:
    """Return the seconds of `Retry-After`; its other form, a date, is not one that this server sends."""
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdecimal() else None
