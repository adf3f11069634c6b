"""What changes about API keys while this process runs: which were revoked, and how often each was used."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from gateway.clients.revocations import Revocations
from gateway.rate_limits import RateLimits, parsed
from gateway.settings import ApiKey, GatewaySection
from runtime.errors import Unauthenticated, Unavailable

if TYPE_CHECKING:
    from limits import RateLimitItem


class KeyState:
    """The keys of one gateway process."""

    def __init__(self, section: GatewaySection) -> None:
        self._limits: dict[str, tuple[RateLimitItem, ...]] = {
            key.key_sha256: parsed(section.rate_limit if key.rate_limit is None else key.rate_limit)
            for key in section.api_keys
        }
        self._rates = RateLimits()
        self._period_seconds = section.revocation_seconds
        self._revoked: frozenset[str] | None = None
        """None: not known yet."""

    def admit(self, key: ApiKey) -> None:
        """Count one request of a key. Raises Unauthenticated for a revoked one, ResourceExhausted past its limits.

        Unavailable until the scheduler was asked once which keys are revoked: a key that was must not come back by a restart.
        """
        if self._revoked is None:
            raise Unavailable("it is not known yet which keys were revoked", retry_after_seconds=1)
        if key.key_sha256 in self._revoked:
            raise Unauthenticated("the API key was revoked")
        if limits := self._limits.get(key.key_sha256):
            self._rates.take(key.key_sha256, limits)

    def note(self, revoked: frozenset[str]) -> None:
        """Take over what is revoked."""
        self._revoked = revoked

    def note_one(self, key_sha256: str) -> None:
        """A key was revoked here: it counts from now on, whatever the next look says."""
        self._revoked = (self._revoked or frozenset()) | {key_sha256}

    @asynccontextmanager
    async def following(self, revocations: Revocations) -> AsyncIterator[None]:
        """Know for the time of the block what is revoked, a moment after anybody revoked it; without keys nothing is asked."""
        if not self._limits:
            yield
            return
        with suppress(Unavailable):
            await self._look(revocations)
        following = asyncio.create_task(self._follow(revocations))
        try:
            yield
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    async def _follow(self, revocations: Revocations) -> None:
        while True:
            await asyncio.sleep(self._period_seconds)
            with suppress(Unavailable):
                await self._look(revocations)

    async def _look(self, revocations: Revocations) -> None:
        self.note(frozenset(key.key_sha256 for key in await revocations.all()))
