"""Delivers callbacks: signed by the Standard Webhooks scheme, guarded against private addresses, retried by a schedule, logged.

Execution never waits for a callback, and a callback's fate never changes a task's state.
"""

from __future__ import annotations

import asyncio
import email.utils
import random
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from standardwebhooks import Webhook
from yarl import URL

from runtime import context as ids
from runtime import spans
from runtime.egress import Egress, EgressPolicy
from runtime.errors import (
    AddressRefused,
    FieldViolation,
    NotFound,
    ResourceExhausted,
    Unavailable,
    YiVideoError,
)
from runtime.logs import get_logger
from scheduler import metrics
from scheduler.callbacks.body import CallbackBodies, Told, ping_body
from scheduler.callbacks.circuit import HostCircuits
from scheduler.callbacks.outbox import DueCallback, Outbox
from scheduler.settings import ALLOW_SETTING, CallbackSection
from yivideo.task.v1 import task_pb2

log = get_logger(__name__)

USER_AGENT = "YiVideo-Callback/1.0"
_ANSWER_BYTES = 64 * 1024
_LONGEST_IDLE_SECONDS = 5.0
_GONE = 410
_PINGS = 8
"""Addresses that are tried at a time."""


def sign(webhook_id: str, now: datetime, body: bytes, secrets: list[Webhook]) -> dict[str, str]:
    """Return the Standard Webhooks headers of one delivery; one signature for each secret, none without secrets."""
    headers = {"webhook-id": webhook_id, "webhook-timestamp": str(int(now.timestamp()))}
    if secrets:
        text = body.decode()
        headers["webhook-signature"] = " ".join(one.sign(webhook_id, now, text) for one in secrets)
    return headers


@dataclass
class _Outcome:
    """How one attempt went."""

    delivery: task_pb2.Delivery
    refused: bool = False
    """The address may not be called."""
    retry_after: float = 0.0
    """Seconds that the receiver asked for."""
    host_is_well: bool | None = None
    """None: it was not asked."""

    @property
    def accepted(self) -> bool:
        """Whether the receiver took it."""
        return 200 <= self.delivery.http_status < 300


class DeliveryWorker:
    """One process's deliveries."""

    def __init__(
        self,
        outbox: Outbox,
        bodies: CallbackBodies,
        settings: CallbackSection,
        *,
        egress: Egress | None = None,
        utc_now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._outbox = outbox
        self._bodies = bodies
        self._settings = settings
        self._utc_now = utc_now
        self._secrets = [Webhook(secret.get_secret_value()) for secret in settings.secrets]
        self._egress = egress or Egress(
            EgressPolicy(allow=settings.allow, setting=ALLOW_SETTING),
            connections=settings.concurrency,
            connections_per_host=settings.host_concurrency,
        )
        self._circuits = HostCircuits(
            concurrency=settings.host_concurrency,
            failures=settings.circuit_failures,
            pause_seconds=settings.circuit_seconds,
        )
        self._wanted = asyncio.Event()
        self._under_way: set[asyncio.Task[None]] = set()
        self._pings = asyncio.Semaphore(_PINGS)

    def want(self) -> None:
        """Look at the outbox now."""
        self._wanted.set()

    async def run(self) -> None:
        """Deliver for ever; cancelling it lets the deliveries under way go: their holds run out, and others repeat them."""
        if not self._secrets:
            log.warning("callbacks are not signed: scheduler.callbacks.secrets is empty")
        try:
            while True:
                wait = await self._turn()
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._wanted.wait()
                self._wanted.clear()
        finally:
            for task in self._under_way:
                task.cancel()
            await asyncio.gather(*self._under_way, return_exceptions=True)
            await self._egress.aclose()

    async def _turn(self) -> float:
        room = self._settings.concurrency - len(self._under_way)
        if room <= 0:
            return _LONGEST_IDLE_SECONDS
        begun = time.monotonic()
        try:
            due, wait = await self._outbox.take(room, self._settings.hold_seconds)
        except Unavailable:
            return 1.0
        give_up = begun + self._settings.hold_seconds - self._settings.timeout_seconds
        waits = []
        for one in due:
            if pause := self._circuits.begin(_host(one.url)):
                waits.append((one, pause))
                continue
            metrics.OUTBOX_AGE.observe(one.overdue_seconds)
            task = asyncio.create_task(self._deliver(one, give_up))
            self._under_way.add(task)
            task.add_done_callback(self._done)
        with suppress(Unavailable):  # they come back when their holds run out
            await self._outbox.postpone(waits)
        soonest = [pause for _, pause in waits] + ([] if wait is None else [wait])
        return max(0.01, min([_LONGEST_IDLE_SECONDS, *soonest]))

    def _done(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._wanted.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a delivery broke; it is repeated when its hold runs out", error=repr(error))

    async def _deliver(self, due: DueCallback, give_up: float) -> None:
        """Make one delivery for whose host a place was taken; not after `give_up`, when another replica may be at it."""
        host, begun = _host(due.url), time.monotonic()
        outcome = _Outcome(task_pb2.Delivery(webhook_id=due.webhook_id))
        try:
            told = await self._bodies.of(due.task_id)
            if time.monotonic() > give_up:
                return
            await self._traced_attempt(due, told, outcome)
        except NotFound:
            return
        finally:
            self._circuits.end(host, well=outcome.host_is_well, seconds=time.monotonic() - begun)
        await self._settle(due, outcome)

    async def _traced_attempt(self, due: DueCallback, told: Told, outcome: _Outcome) -> None:
        with (
            ids.bound(trace=told.traceparent, state=told.tracestate),
            spans.span("callback", spans.Kind.CLIENT, delivery=due.tries + 1) as span,
        ):
            await self._attempt(due, told, outcome)
            if span is not None:
                status = outcome.delivery.http_status
                span.attributes["http.response.status_code"] = status
                span.error = "" if outcome.accepted else str(status or "NOT_DELIVERED")

    async def _attempt(self, due: DueCallback, told: Told, outcome: _Outcome) -> None:
        begun, now = time.monotonic(), self._utc_now()
        delivery = outcome.delivery
        delivery.time.FromDatetime(now)
        try:
            body = told.make_body(self._settings.public_url)
            delivery.http_status, outcome.retry_after = await self._send(due.url, due.webhook_id, body, now)
            outcome.host_is_well = outcome.accepted or delivery.http_status == _GONE
            if not outcome.accepted:
                delivery.error = f"the receiver answered {delivery.http_status}"
        except AddressRefused as error:
            outcome.refused, delivery.error = True, error.message
        except YiVideoError as error:
            outcome.host_is_well, delivery.error = False, error.message
        except Exception as error:  # a fault of ours counts as an attempt, or it would be repeated for ever
            log.error("a delivery could not be made", task=due.task_id, exc_info=error)
            delivery.error = f"it could not be made: {type(error).__name__}"
        delivery.duration_seconds = round(time.monotonic() - begun, 3)

    async def ping(self, url: str) -> task_pb2.Delivery:
        """Send a test body to an address, once, and say how it went; it is stored nowhere and never repeated.

        Raises AddressRefused with the field `/url`, ResourceExhausted while its host rests or too many pings are under way.
        """
        try:
            self._egress.policy.check_url(url)
        except AddressRefused as refused:
            fields = [FieldViolation("/url", refused.message)]
            raise AddressRefused(f"/url: {refused.message}", fields=fields) from None
        if self._pings.locked():
            raise ResourceExhausted("too many addresses are being tried", retry_after_seconds=1)
        host, begun, now = _host(url), time.monotonic(), self._utc_now()
        if pause := self._circuits.begin(host):
            raise ResourceExhausted("this receiver rests or is busy", retry_after_seconds=pause)
        delivery = task_pb2.Delivery(attempt=1, webhook_id=f"msg_ping_{uuid.uuid4().hex}")
        delivery.time.FromDatetime(now)
        try:
            async with self._pings:
                body = ping_body(now)
                delivery.http_status, _ = await self._send(url, delivery.webhook_id, body, now)
                if not 200 <= delivery.http_status < 300:
                    delivery.error = f"the receiver answered {delivery.http_status}"
        except YiVideoError as error:
            delivery.error = error.message
        finally:
            # Whoever tries an address says nothing about callbacks: neither does it end a host's rest nor begin one.
            self._circuits.end(host, well=None, seconds=time.monotonic() - begun)
        delivery.duration_seconds = round(time.monotonic() - begun, 3)
        return delivery

    async def _send(self, url: str, webhook_id: str, body: bytes, now: datetime) -> tuple[int, float]:
        """POST once; gives the status and the seconds of its Retry-After (0: none)."""
        headers = {"Content-Type": "application/json", "User-Agent": USER_AGENT}
        headers |= sign(webhook_id, now, body, self._secrets)
        if ids.is_sampled() and spans.is_on():
            headers[ids.TRACEPARENT_KEY] = ids.traceparent.get()
            headers |= {ids.TRACESTATE_KEY: state} if (state := ids.tracestate.get()) else {}
        async with self._egress.request(
            "POST", url, timeout_seconds=self._settings.timeout_seconds, headers=headers, data=body
        ) as response:
            left = _ANSWER_BYTES
            async for chunk in response.content.iter_chunked(8192):
                left -= len(chunk)
                if left <= 0:
                    response.close()  # what a receiver says beyond this is not wanted
                    break
            return response.status, retry_after_seconds(response.headers.get("Retry-After", ""), now)

    async def _settle(self, due: DueCallback, outcome: _Outcome) -> None:
        delivery, schedule = outcome.delivery, self._settings.schedule_seconds
        if outcome.accepted:
            state, delay = "sent", 0.0
        elif outcome.refused:
            state, delay = "invalid_url", 0.0
        elif delivery.http_status == _GONE or due.tries >= len(schedule):
            state, delay = "failed", 0.0
        else:
            asked = min(outcome.retry_after, self._settings.max_retry_after_seconds)
            spread = random.uniform(1.0, 1.1)  # noqa: S311 - so that a receiver which comes back is not met by all at once
            state, delay = "pending", max(schedule[due.tries] * spread, asked)
        metrics.DELIVERIES.labels(state if state != "pending" else "retried").inc()
        log.info(
            "callback delivered" if outcome.accepted else "callback not delivered",
            task=due.task_id, status=delivery.http_status, next_state=state, delay_seconds=round(delay, 1),
        )  # fmt: skip
        await self._outbox.settle(due, state, delivery, delay)


def _host(url: str) -> str:
    """Return what the restraint of one host is counted by: its name and port."""
    try:
        parsed = URL(url)
        return f"{parsed.raw_host}:{parsed.port}"
    except ValueError:
        return url  # stored by a process that could read it; the delivery will say that it is refused


def retry_after_seconds(text: str, now: datetime) -> float:
    """Read a Retry-After of either form in seconds; 0 for none or nonsense."""
    if text.isascii() and text.isdecimal() and len(text) < 10:
        return float(text)
    with suppress(ValueError, TypeError, OverflowError):
        return max(0.0, (email.utils.parsedate_to_datetime(text) - now).total_seconds())
    return 0.0
