"""`yivideo run`: local files in, a watched task each, results in a local folder."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from yivideo_client.cli.bars import Bars
from yivideo_client.cli.failures import UsageError, exit_code, tell
from yivideo_client.cli.fields import RUN, as_input, input_file_field, parse
from yivideo_client.cli.output import with_local_files
from yivideo_client.errors import ApiError, ClientError, NotFound
from yivideo_client.local_file import folder_to_write, is_file_here
from yivideo_client.models import Json, Task, TaskType
from yivideo_client.running import UPLOAD_PREFIX

if TYPE_CHECKING:
    from yivideo_client.client import AsyncClient

T = TypeVar("T")

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
    command: str = RUN
    """How this command is called."""
    own: Sequence[str] = ()
    """Its own options."""


@dataclass(frozen=True)
class Job:
    """One task of a plan."""

    input: Json
    """Its input; local files are Paths."""
    name: str
    """What progress calls it."""
    source: str = ""
    """The local file that it was asked for; empty: none."""
    folder: Path | None = None
    """Where its results go."""


@dataclass(frozen=True)
class Ran:
    """A task that was run, and what is here of it."""

    task: Task
    source: str = ""
    """The local file that went in."""
    written: Sequence[Path] = ()
    """The local files that came out."""

    @property
    def raw(self) -> Json:
        """The server's answer, and what is here."""
        return with_local_files(self.task.raw, self.source, self.written)


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
    common = parse(task_type, plan.words, plan.command, plan.own)
    if not plan.files:
        return [common]
    name = input_file_field(task_type, common)
    if name is None:
        raise UsageError(f"{task_type.name} takes no file beside its options")
    if len(plan.files) > 1 and plan.task_id:
        raise UsageError("--id names one, and several files are several of them")
    missing = [path for path in plan.files if not is_file_here(path)]
    if missing:
        raise UsageError(
            f"{', '.join(missing)}: no such file here; what is in the store goes behind its field: --{name} {missing[0]}"
        )
    return [{name: as_input(task_type, name, Path(path)), **common} for path in plan.files]


def jobs_of(plan: Plan, task_type: TaskType) -> list[Job]:
    """Return what a plan asks for, a job for each local file, whose results have a folder each.

    Raises UsageError, and OSError when the folder for results could not be written: before anything runs.
    """
    if plan.folder is not None:
        folder_to_write(plan.folder)
    inputs = inputs_of(plan, task_type)
    if len(plan.files) < 2:
        name = Path(plan.files[0]).name if plan.files else _local_name(inputs[0])
        return [
            Job(
                inputs[0],
                name or plan.task_id or plan.task_name,
                plan.files[0] if plan.files else "",
                plan.folder,
            )
        ]
    names = [Path(path).name for path in plan.files]
    return [
        Job(one, name if names.count(name) == 1 else path, path, plan.folder and plan.folder / stem)
        for one, name, path, stem in zip(inputs, names, plan.files, folder_names(plan.files), strict=True)
    ]


def folder_names(files: Sequence[str]) -> list[str]:
    """Name a folder after each file: its stem, with a number behind it where another file's folder has that name."""
    taken: set[str] = set()
    names = []
    for stem in (Path(path).stem for path in files):
        # Case does not tell folders apart everywhere.
        name = next(
            one
            for one in (stem, *(f"{stem}-{n}" for n in range(2, len(files) + 2)))
            if one.casefold() not in taken
        )
        taken.add(name.casefold())
        names.append(name)
    return names


async def run(client: AsyncClient, plan: Plan, task_type: TaskType, *, quiet: bool) -> tuple[list[Ran], int]:
    """Run a plan's tasks, `jobs` at a time; returns those that completed, and the exit code.

    One that fails does not stop the others. Interrupted, it cancels what is under way.
    """
    work = jobs_of(plan, task_type)
    loading = asyncio.create_task(
        asyncio.to_thread(import_module, "aiohttp")
    )  # while files are hashed and sent
    under_way = set[str]()
    with Bars(quiet=quiet) as bars:
        if plan.detach and len(work) > 1:
            return await _submit_all(client, plan, bars, work)
        try:
            ended = await each(work, plan.jobs, bars, partial(_one, client, plan, bars, under_way))
        except asyncio.CancelledError:
            await cancel_all(client.tasks.cancel, under_way)
            raise
    await loading
    return told_apart(work, ended)


async def each(
    work: Sequence[Job], jobs: int, bars: Bars, do: Callable[[Job], Awaitable[T]]
) -> list[T | BaseException]:
    """Do each job, so many at a time; returns in their order what came of them, or why nothing did."""
    places = asyncio.Semaphore(max(1, jobs))

    async def placed(job: Job) -> T | BaseException:
        async with places:
            try:
                return await do(job)
            except (ClientError, TimeoutError, OSError) as error:
                bars.show(job.name, None, "failed")
                return error

    return list(await asyncio.gather(*map(placed, work)))


def told_apart(work: Sequence[Job], ended: Sequence[T | BaseException]) -> tuple[list[T], int]:
    """Tell the failures, of several jobs with their names; returns the rest, and the exit code."""
    failures = [one for one in ended if isinstance(one, BaseException)]
    for job, one in zip(work, ended, strict=True):
        if isinstance(one, BaseException):
            tell(one, job.name if len(work) > 1 else "")
    return [one for one in ended if not isinstance(one, BaseException)], exit_code(
        failures[0]
    ) if failures else 0


async def _submit_all(
    client: AsyncClient, plan: Plan, bars: Bars, work: Sequence[Job]
) -> tuple[list[Ran], int]:
    """Upload all files, `jobs` at a time, and submit their tasks in few requests; nothing is waited for."""
    sent = await each(work, plan.jobs, bars, lambda job: uploaded(client, bars, job.name, job.input))
    here = [at for at, one in enumerate(sent) if not isinstance(one, BaseException)]
    outcomes = await client.tasks.submit_many(
        {"task_name": plan.task_name, "input_data": sent[at], **plan.options} for at in here
    )
    ended: list[Ran | BaseException] = list(sent)
    for at, outcome in zip(here, outcomes, strict=True):
        ended[at] = Ran(outcome, work[at].source) if isinstance(outcome, Task) else outcome
    return told_apart(work, ended)


async def _one(client: AsyncClient, plan: Plan, bars: Bars, under_way: set[str], job: Job) -> Ran:
    sent = await uploaded(client, bars, job.name, job.input)
    task = await client.tasks.submit(plan.task_name, sent, task_id=plan.task_id, **plan.options)
    if plan.detach:
        return Ran(task, job.source)
    under_way.add(task.task_id)
    task = await client.finish(task.task_id, partial(bars.event, job.name))
    under_way.discard(task.task_id)
    if job.folder is None:
        return Ran(task, job.source)
    return Ran(task, job.source, await client.fetch_outputs(task, job.folder))


def _local_name(task_input: Json) -> str:
    return next((value.name for value in task_input.values() if isinstance(value, Path)), "")


async def uploaded(client: AsyncClient, bars: Bars, name: str, value: Any) -> Any:
    """Return the input with each local file stored, and shown on its way under a name."""
    if isinstance(value, Path):
        shown = partial(bars.transfer, name, "uploaded")
        return (await client.files.put_once(value, UPLOAD_PREFIX, progress=shown)).path
    if isinstance(value, dict):
        return {key: await uploaded(client, bars, name, one) for key, one in value.items()}
    if isinstance(value, list):
        return [await uploaded(client, bars, name, one) for one in value]
    return value


async def cancel_all(cancel: Callable[[str], Awaitable[object]], ids: set[str]) -> None:
    """Ask for the end of what nobody waits for any more."""
    with suppress(TimeoutError):
        async with asyncio.timeout(CANCEL_SECONDS):
            for one in ids:
                with suppress(ApiError, ClientError):
                    await cancel(one)
