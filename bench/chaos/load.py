"""The clients: programs on the client library, which submit, and some of which watch or cancel, whatever breaks meanwhile."""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bench.chaos.faults import Plan
from bench.chaos.receivers import TEMPERS, Receivers
from results.states import TERMINAL_STATES
from yivideo_client import ApiError, AsyncClient, ConnectionFailed, errors
from yivideo_client.backoff import Backoff

LOST = (ConnectionFailed, TimeoutError)
_WAYS = ("hammer", "cast", "chain")
_WITNESSES = 6
_WITNESS_SECONDS = 10.0
_LAST_SECONDS = 5.0
_GIVE_UP_SECONDS = 120.0
_AGAIN_SECONDS = 0.3
INSISTENT = Backoff(attempts=400, patient_attempts=400, base_seconds=0.2, max_seconds=1.0)
"""Clients that outlast every fault of a plan."""


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
    """All clients of one story, over one session."""

    def __init__(self, client: AsyncClient, receivers: Receivers, journal: str) -> None:
        self._client = client
        self._receivers = receivers
        self._journal = journal

    async def run(self, planned: list[PlannedTask], began: float) -> list[Outcome]:
        """Run all planned up to where the clients are done; tasks may still run."""
        return list(await asyncio.gather(*(self._carry_out(task, began) for task in planned)))

    async def _carry_out(self, task: PlannedTask, began: float) -> Outcome:
        outcome = Outcome(task)
        await asyncio.sleep(began + task.at - time.monotonic())
        try:
            async with asyncio.timeout(_GIVE_UP_SECONDS):
                await self._client.tasks.submit(task.name, **self._request(task))
        except (*LOST, ApiError) as error:
            outcome.refusal = f"submit: {error}"
            return outcome
        outcome.accepted = True
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

    async def _cancel(self, outcome: Outcome, after: float) -> None:
        """Cancel a task until that is answered: the library does not repeat it, because a second one is answered otherwise."""
        await asyncio.sleep(after)
        give_up = time.monotonic() + _GIVE_UP_SECONDS
        while True:
            try:
                task = await self._client.tasks.cancel(outcome.task.task_id)
                outcome.cancelled_at_once = task.state == "cancelled"
                return
            except ApiError as error:
                # 400: it has ended, or an earlier request whose answer was lost is at work
                if error.status != 400:
                    outcome.refusal = f"cancel: {error}"
                return
            except LOST as error:
                if time.monotonic() > give_up:
                    outcome.refusal = f"cancel: {error}"
                    return
                await asyncio.sleep(_AGAIN_SECONDS)

    async def _watch(self, outcome: Outcome) -> None:
        """Follow the task's events to the terminal one; what the library makes of broken streams is judged."""
        try:
            async for event in self._client.tasks.watch(outcome.task.task_id):
                if event.sequence:
                    outcome.watched.append((event.sequence, event.name))
        except (*LOST, ApiError) as error:
            outcome.refusal = f"watch: {error}"

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
            try:
                task = await self._client.tasks.get(outcome.task.task_id)
            except errors.NotFound:
                outcome.state = "missing"
                return True
        outcome.state = task.state
        outcome.run = task.output.get("run", "")
        outcome.error_code = task.error.code if task.error else ""
        outcome.worker_lost = task.raw.get("worker_lost_count", 0)
        outcome.callback = task.raw.get("callback_status") or ""
        return outcome.state in TERMINAL_STATES and (
            not outcome.task.temper or outcome.callback in ("sent", "failed")
        )

    async def _read_rest(self, outcome: Outcome) -> None:
        if outcome.state not in TERMINAL_STATES:
            return
        outcome.events, outcome.retries = [], []
        async for event in self._client.tasks.watch(outcome.task.task_id):
            if event.sequence:
                outcome.events.append((event.sequence, event.name))
            if event.name == "retrying":
                outcome.retries.append(event.data["error_detail"]["code"])
            if event.terminal:
                outcome.ended_time = datetime.fromisoformat(event.data["time"]).timestamp()
        if outcome.state == "completed" and outcome.task.store:
            task = await self._client.tasks.get(outcome.task.task_id)
            with tempfile.TemporaryFile() as kept:
                try:
                    await self._client.files.download_to(task.output["path"], kept)
                    kept.seek(0)
                    outcome.stored = kept.read().decode()
                except ApiError as error:
                    outcome.stored = str(error)
