"""The attempts at one piece of work: which faults pass, how long is waited before the next attempt, and when to give up.

tries = transport.tries()
while True:
    try:
        return await work()
    except FAULTS as fault:
        await tries.after(fault)
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from yivideo_client.backoff import Backoff
from yivideo_client.errors import ApiError, ConnectionFailed

PASSING = frozenset({429, 502, 503, 504})
"""Statuses after which the same request may succeed."""


_TOLD_AFTER = 3
"""Failures in a row of a server that was there, after which whoever waits is told."""


class Broken(ConnectionError):
    """A connection failed, or what came over it was no answer: what the libraries below raise, in one word."""


BROKEN = (ConnectionError, TimeoutError)
"""What a connection that fails raises; faults of local files are none of these."""
FAULTS = (ApiError, *BROKEN)
"""What `Tries.after` judges."""


@dataclass
class Reach:
    """What a session knows of its server: whether it was ever there. One that was restarts, and is waited for longer."""

    heard: bool = False
    """Whether it has answered."""
    on_trouble: Callable[[str], None] | None = None
    """Told in a sentence, once an outage, when a server that was there stays away for longer than a moment."""


class Tries:
    """One piece of work, however often it is tried."""

    def __init__(
        self, backoff: Backoff, address: str, *, repeatable: bool = True, reach: Reach | None = None
    ) -> None:
        """`repeatable`: whether a second attempt is allowed where the first may have taken effect. `reach`: the session's."""
        self._backoff = backoff
        self._address = address
        self._repeatable = repeatable
        self._reach = reach or Reach()
        self._failures = 0

    def progressed(self) -> None:
        """Something came of it: the next fault is the first one again."""
        self._failures = 0
        self._reach.heard = True

    async def after(self, fault: Exception) -> None:
        """Wait before the next attempt. Raises when there will be none: the ApiError itself, ConnectionFailed for the rest."""
        self._failures += 1
        if isinstance(fault, ApiError):
            # Who is told to come back later was not served: that has no effect to repeat.
            passes = fault.status in PASSING and (self._repeatable or fault.status == 429)
            asked = fault.retry_after_seconds
        else:
            passes, asked = self._repeatable and not _untrusted(fault), None
        patient = self._reach.heard
        delay = self._backoff.delay_seconds(self._failures, asked, patient=patient) if passes else None
        if delay is None:
            raise fault if isinstance(fault, ApiError) else connection_failed(self._address, fault) from fault
        if patient and self._failures == _TOLD_AFTER and self._reach.on_trouble:
            said = str(fault) if isinstance(fault, ApiError) else str(connection_failed(self._address, fault))
            self._reach.on_trouble(f"{said}; it is tried again")
        await asyncio.sleep(delay)


def connection_failed(address: str, fault: BaseException) -> ConnectionFailed:
    """Name the address and the reason in one line, and what may be done where that is plain."""
    if untrusted := _untrusted(fault):
        reason = f"its certificate is not trusted: {untrusted}"
        advice = "YIVIDEO_CA_FILE, or ca_file of a profile, names whose are"
    elif any(
        isinstance(one, ssl.SSLError) and getattr(one, "reason", "") in _NO_TLS for one in _causes(fault)
    ):
        reason, advice = "it does not speak TLS", "is http:// meant?"
    else:
        reason, advice = _reason(fault), ""
    return ConnectionFailed(f"{address} cannot be reached: {reason}", address, advice)


_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE")


def _causes(fault: BaseException | None) -> Iterator[BaseException]:
    while fault is not None:
        yield fault
        fault = fault.__cause__


def _untrusted(fault: BaseException) -> str:
    """Say why a certificate was not believed; empty: it is not that. Libraries have errors of the kind that do not say why."""
    found = (one for one in _causes(fault) if isinstance(one, ssl.SSLCertVerificationError))
    return next((said for one in found if (said := str(getattr(one, "verify_message", "")))), "")


def _reason(fault: BaseException) -> str:
    """Say what the system said, without the address again; what is no fault of a socket speaks for itself."""
    for cause in _causes(fault):
        if isinstance(cause, socket.gaierror):  # its numbers are not the system's
            return str(cause.strerror).lower()
        if isinstance(cause, OSError) and not isinstance(cause, ssl.SSLError) and (cause.errno or 0) > 0:
            return os.strerror(cause.errno or 0).lower()
    return str(fault) or type(fault).__name__
