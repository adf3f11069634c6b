"""`yivideo run`: local files in, a watched task each, results in a local folder."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yivideo_client.cli.bars import Bars
from yivideo_client.cli.failures import UsageError, exit_code, tell
from yivideo_client.cli.fields import input_file_field, parse
from yivideo_client.errors import ApiError, ClientError, NotFound
from yivideo_client.models import Json, Task, TaskType
from yivideo_client.running import UPLOAD_PREFIX

if TYPE_CHECKING:
    from yivideo_client.client import AsyncClient

CANCEL_SECONDS = 5.0
"""How long an interrupted command tries to cancel its tasks."""


@dataclass(frozen=True)
class Plan:
    """What one command asks for."""

    task_name: str
    files: Sequence[str]
    """Local files, a task each."""
    words: Sequence[str]
    """Options that are fields of the task."""
    folder: Path | None = None
    """Where results go; None: nowhere."""
    task_id: str | None = None
    jobs: int = 4
    """Tasks that are under way at once."""
    detach: bool = False
    options: Json = field(default_factory=dict)
    """Other fields of the request."""


async def task_type_named(client: AsyncClient, name: str) -> TaskType:
    """Return a task type. Raises NotFound with the nearest names."""
    import difflib

    types = {one.name: one for one in await client.tasks.types()}
    if name in types:
        return types[name]
    near = difflib.get_close_matches(name, types, 3, 0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else "`yivideo types` lists them"
    raise NotFound(404, "UNKNOWN_TASK_TYPE", f"there is no task {name!r}; {hint}")


def inputs_of(plan: Plan, task_type: TaskType) -> list[Json]:
    """Return the input of each task that a plan asks for. Raises UsageError."""
    common = parse(task_type, plan.words)
    if not plan.files:
        return [common]
    name = input_file_field(task_type, common)
    if name is None:
        raise UsageError(f"{task_type.name} takes no file beside its options")
    if len(plan.files) > 1 and plan.task_id:
        raise UsageError("--id names one task, and several files are several tasks")
    missing = [path for path in plan.files if not Path(path).is_file()]
    if missing:
        raise UsageError(f"{', '.join(missing)}: no such file")
    return [{name: Path(path), **common} for path in plan.files]


async def run(client: AsyncClient, plan: Plan, task_type: TaskType, *, quiet: bool) -> tuple[list[Task], int]:
    """Run a plan's tasks, `jobs` at a time; returns those that completed, and the exit code.

    One that fails does not stop the others. Interrupted, it cancels what is under way.
    """
    inputs = inputs_of(plan, task_type)
    loading = asyncio.create_task(
        asyncio.to_thread(import_module, "aiohttp")
    )  # while files are hashed and sent
    places, under_way = asyncio.Semaphore(max(1, plan.jobs)), set[str]()
    with Bars(quiet=quiet) as bars:
        if plan.detach and len(inputs) > 1:
            return await _submit_all(client, plan, bars, inputs, places)
        one = partial(_one, client, plan, bars, under_way, several=len(inputs) > 1)

        async def placed(task_input: Json) -> Task | BaseException:
            async with places:
                try:
                    return await one(task_input)
                except (ClientError, TimeoutError, OSError) as error:
                    bars.show(_name(plan, task_input), None, "failed")
                    return error

        try:
            ended = await asyncio.gather(*(placed(one_input) for one_input in inputs))
        except asyncio.CancelledError:
            await _cancel(client, under_way)
            raise
    await loading
    failures = [one for one in ended if isinstance(one, BaseException)]
    for failure in failures:
        tell(failure)
    return [one for one in ended if isinstance(one, Task)], exit_code(failures[0]) if failures else 0


async def _submit_all(
    client: AsyncClient, plan: Plan, bars: Bars, inputs: Sequence[Json], places: asyncio.Semaphore
) -> tuple[list[Task], int]:
    """Upload all files, `jobs` at a time, and submit their tasks in few requests; nothing is waited for."""

    async def uploaded(task_input: Json) -> Json | Exception:
        async with places:
            try:
                sent: Json = await _uploaded(client, bars, _name(plan, task_input), task_input)
                return sent
            except (ClientError, OSError) as error:
                return error

    sent = await asyncio.gather(*map(uploaded, inputs))
    bodies = [
        {"task_name": plan.task_name, "input_data": one, **plan.options}
        for one in sent
        if not isinstance(one, Exception)
    ]
    outcomes = await client.tasks.submit_many(bodies)
    tasks = [one for one in outcomes if isinstance(one, Task)]
    failures = [one for one in (*sent, *outcomes) if isinstance(one, Exception)]
    for failure in failures:
        tell(failure)
    return tasks, exit_code(failures[0]) if failures else 0


async def _one(
    client: AsyncClient, plan: Plan, bars: Bars, under_way: set[str], task_input: Json, *, several: bool
) -> Task:
    name = _name(plan, task_input)
    sent = await _uploaded(client, bars, name, task_input)
    task = await client.tasks.submit(plan.task_name, sent, task_id=plan.task_id, **plan.options)
    if plan.detach:
        return task
    under_way.add(task.task_id)
    task = await client.finish(task.task_id, partial(bars.event, name))
    under_way.discard(task.task_id)
    if plan.folder is not None:
        await client.fetch_outputs(task, plan.folder / task.task_id if several else plan.folder)
    return task


def _name(plan: Plan, task_input: Json) -> str:
    local = next((value.name for value in task_input.values() if isinstance(value, Path)), "")
    return local or plan.task_id or plan.task_name


async def _uploaded(client: AsyncClient, bars: Bars, name: str, value: Any) -> Any:
    if isinstance(value, Path):
        shown = partial(bars.transfer, name, "uploaded")
        return (await client.files.put_once(value, UPLOAD_PREFIX, progress=shown)).path
    if isinstance(value, dict):
        return {key: await _uploaded(client, bars, name, one) for key, one in value.items()}
    if isinstance(value, list):
        return [await _uploaded(client, bars, name, one) for one in value]
    return value


async def _cancel(client: AsyncClient, task_ids: set[str]) -> None:
    """Ask for the end of tasks that nobody waits for any more."""
    with suppress(TimeoutError):
        async with asyncio.timeout(CANCEL_SECONDS):
            for task_id in task_ids:
                with suppress(ApiError, ClientError):
                    await client.tasks.cancel(task_id)
