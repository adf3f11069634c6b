"""Calls to addresses that a client named: callbacks and remote inputs. Guards against server-side request forgery.

The check sits where names are resolved and again where the socket is made, so it sees every address that is really dialled: IP
literals, every DNS answer, and each hop of a redirect. What may be called is `runtime.egress_policy`'s to say.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
from yarl import URL

from runtime.egress_policy import MAX_URL_LENGTH, AddressBlocked, EgressPolicy, is_public
from runtime.errors import AddressRefused, DeadlineExceeded, InvalidArgument, Unavailable

if TYPE_CHECKING:
    from aiohttp.abc import AbstractResolver

__all__ = ["MAX_URL_LENGTH", "AddressBlocked", "Egress", "EgressPolicy", "is_public"]

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_KEPT_ACROSS_ORIGINS = frozenset({"accept", "accept-encoding", "if-range", "range", "user-agent"})
"""Headers that follow a redirect to another origin; all others may be credentials."""

_CONNECT_SECONDS = 10.0
"""A peer that takes no connection for so long is down, however long its answer might take."""
_CLOCK_SLACK_SECONDS = 0.01


class Egress:
    """Makes guarded requests; one per process, closed at its end.

    Requests past `connections`, or past `connections_per_host` to one host, wait within their own time.
    """

    def __init__(
        self,
        policy: EgressPolicy,
        *,
        resolver: AbstractResolver | None = None,
        connections: int = 64,
        connections_per_host: int = 8,
    ) -> None:
        self.policy = policy
        self._resolver = resolver
        self._connections = connections
        self._connections_per_host = connections_per_host
        self._guarded: aiohttp.ClientSession | None = None
        self._open: aiohttp.ClientSession | None = None

    async def aclose(self) -> None:
        """Close the connections."""
        for session in (self._guarded, self._open):
            if session is not None:
                await session.close()

    def _session(self, url: URL) -> aiohttp.ClientSession:
        from runtime import egress_session  # loads aiohttp, which a process that calls nobody does without

        limits = {"connections": self._connections, "connections_per_host": self._connections_per_host}
        if self.policy.allows_host(url.raw_host or "", url.port):
            if self._open is None:
                self._open = egress_session.open_session(resolver=self._resolver, **limits)
            return self._open
        if self._guarded is None:
            self._guarded = egress_session.guarded_session(self.policy, resolver=self._resolver, **limits)
        return self._guarded

    @asynccontextmanager
    async def request(
        self,
        method: str,
        url: str,
        *,
        timeout_seconds: float,
        max_redirects: int = 0,
        headers: Mapping[str, str] | None = None,
        data: Any = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send one request; gives the response with its body unread.

        `timeout_seconds` bounds all of it: every hop, and reading the body inside the block; of it, a connection may take 10 s.
        Follows at most `max_redirects` redirects of a GET or HEAD, each checked like the first address; with 0, and for other
        methods, a redirect is returned as it is. Raises AddressRefused, DeadlineExceeded, or Unavailable when the peer cannot be
        reached or breaks off; what the block itself raises passes unchanged.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_seconds
        redirects = max_redirects if method.upper() in ("GET", "HEAD") else 0
        response = await self._answer(method, self.policy.check_url(url), deadline, redirects, headers, data)
        async with response:
            try:
                yield response
            except (aiohttp.ClientError, TimeoutError) as error:
                late = loop.time() >= deadline - _CLOCK_SLACK_SECONDS
                if error is response.content.exception() or (isinstance(error, TimeoutError) and late):
                    raise _translated(error, response.url, self.policy) from error
                raise

    async def _answer(
        self,
        method: str,
        target: URL,
        deadline: float,
        redirects: int,
        headers: Mapping[str, str] | None,
        data: Any,
    ) -> aiohttp.ClientResponse:
        """Send a request and follow its redirects; the last response, its body unread."""
        for _ in range(redirects + 1):
            response = await self._send(method, target, deadline, headers, data)
            location = response.headers.get("Location")
            if not redirects or response.status not in _REDIRECTS or location is None:
                return response
            response.close()
            try:
                following = self.policy.check_url(str(target.join(URL(location))))
            except ValueError:
                raise AddressRefused("the redirect's address cannot be parsed") from None
            if following.origin() != target.origin():
                headers = {k: v for k, v in (headers or {}).items() if k.lower() in _KEPT_ACROSS_ORIGINS}
            target = following
        raise InvalidArgument(f"more than {redirects} redirects")

    async def _send(
        self, method: str, target: URL, deadline: float, headers: Mapping[str, str] | None, data: Any
    ) -> aiohttp.ClientResponse:
        left = deadline - asyncio.get_running_loop().time()
        if left <= 0:
            raise DeadlineExceeded(f"{target.host} did not answer in time")
        try:
            return await self._session(target).request(
                method,
                target,
                allow_redirects=False,
                headers=headers,
                data=data,
                timeout=aiohttp.ClientTimeout(total=left, sock_connect=_CONNECT_SECONDS),
            )
        except (aiohttp.ClientError, OSError, UnicodeError) as error:
            raise _translated(error, target, self.policy) from error


def _translated(error: BaseException, url: URL, policy: EgressPolicy) -> Exception:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, AddressBlocked):
            return policy.refusal(f"{url.host} resolves to an address that is not public")
        cause = cause.__cause__
    if isinstance(error, aiohttp.InvalidURL | UnicodeError):
        return AddressRefused("the URL cannot be called")
    if isinstance(error, TimeoutError):
        return DeadlineExceeded(f"{url.host} did not answer in time")
    return Unavailable(f"{url.host} cannot be reached: {type(error).__name__}")
