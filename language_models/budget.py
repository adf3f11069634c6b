"""What one user may spend on language models: requests a minute, tokens a day. Of this process; the clock is passed in."""

from __future__ import annotations

import functools
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from language_models.faults import FaultCode, ModelFault
from language_models.settings import llm_settings

MINUTE_SECONDS = 60.0
DAY_SECONDS = 86_400.0
_MAX_USERS = 10_000
_BUCKETS = 24
"""A day is forgotten by the hour, so that a user costs a few numbers and not one for each request."""


@dataclass
class _Account:
    """What one user did."""

    requests: deque[float] = field(default_factory=deque)
    """Instants at which requests of the last minute may go or went."""
    hours: deque[tuple[int, int]] = field(default_factory=deque)
    """Tokens by the hour's number, of the last day."""


class Budget:
    """Accounts of all users of a process. `requests_per_minute` and `tokens_per_day` 0: without limit."""

    def __init__(
        self, requests_per_minute: int, tokens_per_day: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_minute = requests_per_minute
        self._per_day = tokens_per_day
        self._clock = clock
        self._accounts: OrderedDict[str, _Account] = OrderedDict()

    def book_request(self, user: str, within_seconds: float) -> float:
        """Return how many seconds the user's next request has to wait; the place is taken.

        Raises ModelFault (BUDGET_EXCEEDED) when that is longer than `within_seconds`: no place is taken then.
        """
        if not self._per_minute:
            return 0.0
        now, places = self._clock(), self._account(user).requests
        while places and places[0] <= now - MINUTE_SECONDS:
            places.popleft()
        free = now
        if len(places) >= self._per_minute:
            free = max(now, places[len(places) - self._per_minute] + MINUTE_SECONDS)
        if free - now > within_seconds:
            message = f"the user has {self._per_minute} model requests a minute; the next is free in {free - now:.0f} s"
            raise ModelFault(FaultCode.BUDGET_EXCEEDED, message)
        places.append(free)
        return free - now

    def check_tokens(self, user: str, wanted: int) -> None:
        """Refuse a request that would need more tokens than are left. Raises ModelFault (BUDGET_EXCEEDED)."""
        if not self._per_day:
            return
        used = self.tokens_used(user)
        if used + wanted > self._per_day:
            message = f"the user has used {used} of {self._per_day} model tokens in 24 hours; about {wanted} more are needed"
            raise ModelFault(FaultCode.BUDGET_EXCEEDED, message)

    def spend_tokens(self, user: str, tokens: int) -> None:
        """Note what a request has used."""
        if not self._per_day or tokens <= 0:
            return
        hours, hour = self._account(user).hours, self._hour()
        if hours and hours[-1][0] == hour:
            tokens += hours.pop()[1]
        hours.append((hour, tokens))

    def tokens_used(self, user: str) -> int:
        """Return the user's tokens of the last day, to the hour."""
        hours = self._account(user).hours
        while hours and hours[0][0] <= self._hour() - _BUCKETS:
            hours.popleft()
        return sum(tokens for _, tokens in hours)

    def _hour(self) -> int:
        return int(self._clock() // (DAY_SECONDS / _BUCKETS))

    def _account(self, user: str) -> _Account:
        account = self._accounts.pop(user, None) or _Account()
        self._accounts[user] = account
        if len(self._accounts) > _MAX_USERS:
            self._accounts.popitem(last=False)
        return account


@functools.cache
def process_budget() -> Budget:
    """Return the accounts of this process, by its settings."""
    section = llm_settings()
    return Budget(section.requests_per_minute, section.tokens_per_day)
