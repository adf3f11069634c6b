"""The clients: they submit, some watch, some cancel, all repeat a request whose answer they did not get, as a good client does."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import aiohttp
import orjson

from bench.chaos.faults import Plan
from bench.chaos.receivers import TEMPERS, Receivers
from results.states import TERMINAL_EVENTS, TERMINAL_STATES

LOST = (aiohttp.ClientError, OSError, TimeoutError)
_WAYS = ("hammer", "cast", "chain")
_WITNESSES = 6
_WITNESS_SECONDS = 10.0
_LAST_SECONDS = 5.0
_GIVE_UP_SECONDS = 120.0
_AGAIN_SECONDS = 0.3
_CALL = aiohttp.ClientTimeout(total=15)
_STREAM = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=20)


@dataclass(frozen=True)
class PlannedTask:
    """What one client wants."""

    task_id: str
    name: str
    at: float
    """Seconds after the story's beginning."""
    seconds: float
    failures: int
    """Attempts that are told to fail; `DOOMED`: all."""
    store: bool
    temper: str
    """The receiver of the callback; empty: none."""
    cancel_after: float | None
    watch: bool


DOOMED = 100
MAX_ATTEMPTS = 12


@dataclass
class Outcome:
    """What one client has seen."""

    task: PlannedTask
    accepted: bool = False
    refusal: str = ""
    """A lasting error of the submission or the cancel that no repetition would mend."""
    cancelled_at_once: bool = False
    """Whether a cancel was answered with the task being cancelled already."""
    watched: list[tuple[int, str]] = field(default_factory=list)
    """(sequence, name) of the events of its own stream, over all reconnects."""
    state: str = ""
    run: str = ""
    """Which run the result is of."""
    error_code: str = ""
    worker_lost: int = 0
    callback: str = ""
    """What the system says of the callback."""
    events: list[tuple[int, str]] = field(default_factory=list)
    """The whole stream, read when all was over."""
    ended_time: float = 0.0
    """Wall-clock time of the terminal event; 0: none."""
    retries: list[str] = field(default_factory=list)
    """Codes of its `retrying` events."""
    stored: str = ""
    """What the stored file says."""


def make_tasks(seed: int, tasks: int, plan: Plan) -> list[PlannedTask]:
    """Make up what clients want: some tasks that surely run when a lone process is killed, the others all over the story."""
    dice = random.Random(seed * 7919 + 1)
    alone = [fault.at for fault in plan.faults if fault.alone]
    witnesses = [at - dice.uniform(1.5, 2.5) for at in alone for _ in range(_WITNESSES)][:tasks]
    planned = [
        PlannedTask(
            task_id=f"chaos-witness-{number}",
            name=f"forge.{_WAYS[number % len(_WAYS)]}",
            at=at,
            seconds=_WITNESS_SECONDS,
            failures=0,
            store=False,
            temper="steady",
            cancel_after=None,
            watch=True,
        )
        for number, at in enumerate(witnesses)
    ]
    latest = plan.seconds - _LAST_SECONDS
    return planned + [_planned_task(dice, number, latest) for number in range(tasks - len(planned))]


def _planned_task(dice: random.Random, number: int, latest: float) -> PlannedTask:
    long = dice.random() < 0.03
    return PlannedTask(
        task_id=f"chaos-{number}",
        name=f"{dice.choice(('forge', 'forge', 'anvil'))}.{dice.choice(_WAYS)}",
        at=dice.uniform(0, latest),
        seconds=round(dice.uniform(8.0, 25.0) if long else dice.uniform(0.05, 3.0), 3),
        failures=dice.choices((0, 1, 2, DOOMED), (88, 6, 3, 3))[0],
        store=dice.random() < 0.25,
        temper=dice.choice(TEMPERS) if dice.random() < 0.7 else "",
        cancel_after=dice.uniform(0, 4) if dice.random() < 0.1 else None,
        watch=dice.random() < 0.3,
    )


class Clients:
    """All clients of one story."""

    def __init__(self, session: aiohttp.ClientSession, receivers: Receivers, journal: str) -> None:
        self._session = session
        self._receivers = receivers
        self._journal = journal

    async def run(self, planned: list[PlannedTask], began: float) -> list[Outcome]:
        """Run all planned up to where the clients are done; tasks may still run."""
        return list(await asyncio.gather(*(self._carry_out(task, began) for task in planned)))

    async def _carry_out(self, task: PlannedTask, began: float) -> Outcome:
        outcome = Outcome(task)
        await asyncio.sleep(began + task.at - time.monotonic())
        status, body = await self._insist("POST", "/v1/tasks", json=self._request(task))
        outcome.accepted = status in (200, 202)
        if not outcome.accepted:
            outcome.refusal = f"submit: {status} {body.get('code')}"
            return outcome
        wishes = []
        if task.watch:
            wishes.append(self._watch(outcome))
        if task.cancel_after is not None:
            wishes.append(self._cancel(outcome, task.cancel_after))
        await asyncio.gather(*wishes)
        return outcome

    def _request(self, task: PlannedTask) -> dict[str, Any]:
        request: dict[str, Any] = {
            "task_id": task.task_id,
            "task_name": task.name,
            "input_data": {
                "journal": self._journal,
                "seconds": task.seconds,
                "failures": task.failures,
                "store": task.store,
            },
            "retry_policy": {
                "max_attempts": 3 if task.failures == DOOMED else MAX_ATTEMPTS,
                "initial_delay_seconds": 0.2,
                "backoff_factor": 1.0,
            },
        }
        if task.temper:
            request["callback"] = f"http://{self._receivers.addresses[task.temper]}/"
        return request

    async def _insist(self, method: str, path: str, **options: Any) -> tuple[int, dict[str, Any]]:
        """Repeat a request until it has an answer that is not about the server's own trouble; (0, {}) when none came in time."""
        give_up = time.monotonic() + _GIVE_UP_SECONDS
        while time.monotonic() < give_up:
            try:
                async with self._session.request(method, path, timeout=_CALL, **options) as response:
                    body = await response.read()
                    if response.status < 500 and response.status != 429:
                        return response.status, orjson.loads(body)
            except LOST:
                pass
            await asyncio.sleep(_AGAIN_SECONDS)
        return 0, {}

    async def _cancel(self, outcome: Outcome, after: float) -> None:
        await asyncio.sleep(after)
        status, body = await self._insist("DELETE", f"/v1/tasks/{outcome.task.task_id}")
        outcome.cancelled_at_once = status == 200
        if status not in (
            200,
            202,
            400,
        ):  # 400: it has ended, or an earlier request whose answer was lost is at work
            outcome.refusal = f"cancel: {status} {body.get('code')}"

    async def _watch(self, outcome: Outcome) -> None:
        """Follow the task's events to the terminal one, however often the stream breaks."""
        give_up = time.monotonic() + _GIVE_UP_SECONDS
        while time.monotonic() < give_up:
            last = outcome.watched[-1][0] if outcome.watched else 0
            try:
                async for sequence, name, _ in self.stream(outcome.task.task_id, last):
                    outcome.watched.append((sequence, name))
                    if name in TERMINAL_EVENTS:
                        return
            except LOST:
                pass
            await asyncio.sleep(_AGAIN_SECONDS)

    async def stream(self, task_id: str, after: int) -> AsyncIterator[tuple[int, str, dict[str, Any]]]:
        """Give the stored events of one connection: sequence, name, data."""
        headers = {"Last-Event-ID": str(after)} if after else {}
        path = f"/v1/tasks/{task_id}/events"
        async with self._session.get(path, headers=headers, timeout=_STREAM) as response:
            response.raise_for_status()
            sequence, name = 0, ""
            async for raw in response.content:
                word, _, value = raw.decode().rstrip("\n").partition(": ")
                if word == "id":
                    sequence = int(value)
                elif word == "event":
                    name = value
                elif word == "data" and sequence:
                    yield sequence, name, orjson.loads(value)
                    sequence = 0

    async def settle(self, outcomes: list[Outcome], seconds: float) -> None:
        """Wait until every accepted task has ended and its callback is sent, then read what the system says of each."""
        give_up = time.monotonic() + seconds
        gate = asyncio.Semaphore(16)

        async def read(outcome: Outcome) -> None:
            while not await self._look(outcome, gate) and time.monotonic() < give_up:
                await asyncio.sleep(1.0)
            async with gate:
                await self._read_rest(outcome)

        await asyncio.gather(*(read(outcome) for outcome in outcomes if outcome.accepted))

    async def _look(self, outcome: Outcome, gate: asyncio.Semaphore) -> bool:
        async with gate:
            status, body = await self._insist("GET", f"/v1/tasks/{outcome.task.task_id}")
        outcome.state = "missing" if status == 404 else body.get("state", "unknown")
        if status == 404:
            return True
        outcome.run = ((body.get("result") or {}).get("output") or {}).get("run", "")
        outcome.error_code = (body.get("error") or {}).get("code", "")
        outcome.worker_lost = body.get("worker_lost_count", 0)
        outcome.callback = body.get("callback_status") or ""
        return outcome.state in TERMINAL_STATES and (
            not outcome.task.temper or outcome.callback in ("sent", "failed")
        )

    async def _read_rest(self, outcome: Outcome) -> None:
        if outcome.state not in TERMINAL_STATES:
            return
        outcome.events, outcome.retries = [], []
        async for sequence, name, data in self.stream(outcome.task.task_id, 0):
            outcome.events.append((sequence, name))
            if name == "retrying":
                outcome.retries.append(data["error_detail"]["code"])
            if name in TERMINAL_EVENTS:
                outcome.ended_time = datetime.fromisoformat(data["time"]).timestamp()
        if outcome.state == "completed" and outcome.task.store:
            _, body = await self._insist("GET", f"/v1/tasks/{outcome.task.task_id}")
            path = body["result"]["output"]["path"]
            async with self._session.get(f"/v1/files/download/{path}") as response:
                outcome.stored = (
                    await response.text() if response.status == 200 else f"HTTP {response.status}"
                )
