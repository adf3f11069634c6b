"""Many tasks in few requests: what passes is sent again, what is too large for one request is split."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import orjson

from yivideo_client.errors import ApiError, UnexpectedAnswer, api_error
from yivideo_client.models import Task, listed, part
from yivideo_client.transport import Transport
from yivideo_client.tries import PASSING

BATCH_TASKS = 500
"""Tasks in a request; the server takes 1,000."""
BATCH_BYTES = 4 * 1024 * 1024
"""Bytes of a request; the server takes 8 MiB, if nobody has set it otherwise."""
_SECONDS = 90.0

Body = dict[str, Any]


async def submitted(transport: Transport, bodies: Iterable[Mapping[str, Any]]) -> Sequence[Task | ApiError]:
    """See `Tasks.submit_many`."""
    made: list[Task | ApiError] = []
    for batch in _batches(bodies):
        made += await _accepted(transport, batch)
    return made


def _batches(bodies: Iterable[Mapping[str, Any]]) -> Iterator[list[Body]]:
    batch: list[Body] = []
    size = 0
    for given in bodies:
        body = {"task_id": f"task-{uuid.uuid4()}", **given}  # an id makes it the same task however it is sent
        length = len(orjson.dumps(body)) + 1
        if batch and (len(batch) >= BATCH_TASKS or size + length > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(body)
        size += length
    if batch:
        yield batch


async def _accepted(transport: Transport, batch: Sequence[Body]) -> list[Task | ApiError]:
    """Submit a batch until each of its tasks is accepted, or refused for good."""
    made: list[Task | ApiError | None] = [None] * len(batch)
    left = list(range(len(batch)))
    tries = transport.tries()
    while True:
        again: list[int] = []
        for index, outcome in zip(left, await _answers(transport, [batch[at] for at in left]), strict=True):
            made[index] = outcome
            if isinstance(outcome, ApiError) and outcome.status in PASSING:
                again.append(index)
        if not again:
            break
        if len(again) < len(left):
            tries.progressed()
        left = again
        waits = [one for one in (made[at] for at in left) if isinstance(one, ApiError)]
        try:
            await tries.after(max(waits, key=lambda one: one.retry_after_seconds or 0.0))
        except ApiError:
            break  # each keeps its own
    return [outcome for outcome in made if outcome is not None]


async def _answers(transport: Transport, batch: Sequence[Body]) -> list[Task | ApiError]:
    """Return what one request says of each of its tasks; one that is too large goes as two."""
    try:
        answer = await transport.call(
            "POST", "/v1/tasks:batch", body={"tasks": batch}, repeatable=True, seconds=_SECONDS
        )
    except ApiError as error:
        if error.status != 413:
            raise
        if len(batch) == 1:
            return [error]
        middle = len(batch) // 2
        return [*await _answers(transport, batch[:middle]), *await _answers(transport, batch[middle:])]
    results = listed(answer, "results")
    if len(results) != len(batch):
        raise UnexpectedAnswer(f"{len(batch)} tasks were submitted, and {len(results)} were answered for")
    return [_outcome(body, item) for body, item in zip(batch, results, strict=True)]


def _outcome(body: Body, item: Mapping[str, Any]) -> Task | ApiError:
    if part(item, "task") is not None:
        return Task.from_answer({"task_name": body.get("task_name", ""), **item["task"]})
    error = item["error"]
    return api_error(
        item["http_status"], {**error, "detail": error["message"]}, error.get("retry_after_seconds")
    )
