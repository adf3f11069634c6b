"""`yivideo run`: local files in, a watched task each, results in a local folder."""

from __future__ import annotations

import asyncio
import shlex
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from yivideo_client import errors
from yivideo_client.cli.bars import Bars
from yivideo_client.cli.failures import LOCAL_FILE, UNAVAILABLE, UsageError, exit_code, say, tell
from yivideo_client.cli.fields import RUN, as_input, input_file_field, parse
from yivideo_client.cli.output import with_local_files
from yivideo_client.cli.schema_check import faults
from yivideo_client.errors import ClientError, NotFound
from yivideo_client.local_file import folder_to_write, is_file_here
from yivideo_client.models import Json, Task, TaskType
from yivideo_client.running import UPLOAD_PREFIX

if TYPE_CHECKING:
    from yivideo_client.client import AsyncClient

T = TypeVar("T")

CANCEL_SECONDS = 5.0
"""How long an interrupted command tries to cancel its tasks."""
_MOST_NAMED = 4
_UNCODED = {UNAVAILABLE: "UNAVAILABLE", LOCAL_FILE: "LOCAL_FILE"}
"""What stands as the code of an error that no server told."""


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


@dataclass(frozen=True)
class Fault:
    """A job of which nothing came."""

    error: BaseException
    source: str = ""
    """The local file that it was asked for."""

    @property
    def raw(self) -> Json:
        """What is known of it: the server's record where it came so far."""
        ended = getattr(self.error, "task", None) or getattr(self.error, "workflow", None)
        code = str(getattr(self.error, "code", "") or _UNCODED.get(exit_code(self.error), "CLIENT"))
        said = getattr(self.error, "message", "") or str(self.error)
        record = ended.raw if ended else {"status": "refused", "error": {"code": code, "message": said}}
        return with_local_files(record, self.source, ())


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
    """Return the input of each task that a plan asks for. Raises UsageError, also for what the task's schema refuses."""
    common = parse(task_type, plan.words, plan.command, plan.own)
    if len(plan.files) > 1 and plan.task_id:
        raise UsageError("--id names one, and several files are several of them")
    if "-" in plan.files:
        raise UsageError(
            "standard input has no name: `yivideo file put - PATH` stores it, and tasks can name PATH"
        )
    inputs = [_with_file(task_type, common, path) for path in plan.files] or [common]
    missing = [path for path in plan.files if not is_file_here(path)]
    if missing:
        name = input_file_field(task_type, common, missing[0])
        raise UsageError(
            f"{', '.join(missing)}: no such file here; what is in the store goes behind its field: --{name} {missing[0]}"
        )
    # A workflow's earlier tasks fill what is left out.
    filled = bool(plan.options.get("workflow_id"))
    for one in inputs:
        if found := faults(one, task_type.input_schema, filled=filled):
            said = "; ".join(f"--{name}: {detail}" for name, detail in found)
            raise UsageError(f"{said}; `{plan.command} {task_type.name} --help` lists the fields")
    return inputs


def _with_file(task_type: TaskType, common: Json, path: str) -> Json:
    name = input_file_field(task_type, common, path)
    if name is None:
        raise UsageError(f"{task_type.name} takes no file beside its options")
    return {name: as_input(task_type, name, Path(path)), **common}


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


async def run(
    client: AsyncClient, plan: Plan, task_type: TaskType, show: Callable[[Ran | Fault], None], *, quiet: bool
) -> int:
    """Run a plan's tasks, `jobs` at a time, and have what came of each shown; returns the exit code.

    One that fails does not stop the others. Interrupted, it cancels what is under way. Into a pipe or a file each is shown when it
    has ended, so that nothing is lost of an hour's work; on a terminal in their order, behind the progress.
    """
    work = jobs_of(plan, task_type)
    loading = asyncio.create_task(
        asyncio.to_thread(import_module, "aiohttp")
    )  # while files are hashed and sent
    under_way = set[str]()
    with Bars(quiet=quiet, jobs=len(work)) as bars:
        if plan.detach and len(work) > 1:
            return await _submit_all(client, plan, bars, work, show)
        at_once = None if sys.stdout.isatty() else show
        try:
            ended = await each(work, plan.jobs, bars, partial(_one, client, plan, bars, under_way), at_once)
        except BaseException:
            await cancel_all(client.tasks.cancel, under_way)
            raise
    await loading
    return told_apart(work, ended, None if at_once else show)


async def each(
    work: Sequence[Job],
    jobs: int,
    bars: Bars,
    do: Callable[[Job], Awaitable[T]],
    show: Callable[[T | Fault], None] | None = None,
) -> list[T | BaseException]:
    """Do each job, so many at a time; returns in their order what came of them, or why nothing did. `show`: when it has come."""
    places = asyncio.Semaphore(max(1, jobs))

    async def placed(job: Job) -> T | BaseException:
        async with places:
            try:
                outcome: T | BaseException = await do(job)
            except (ClientError, TimeoutError, OSError) as error:
                bars.show(job.name, None, "failed")
                outcome = error
            finally:
                bars.ended(job.name)
            if show:
                show(_outcome(job, outcome))
            return outcome

    return list(await asyncio.gather(*map(placed, work)))


def told_apart(
    work: Sequence[Job], ended: Sequence[T | BaseException], show: Callable[[T | Fault], None] | None
) -> int:
    """Tell the failures, of several jobs with their names, and show what came of each where `show` is given; give the exit code."""
    failures = [one for one in ended if isinstance(one, BaseException)]
    for job, one in zip(work, ended, strict=True):
        if isinstance(one, BaseException):
            tell(one, job.name if len(work) > 1 else "")
    if failures and len(work) > 1:
        say(f"yivideo: {len(failures)} of {len(work)} failed")
    for job, one in zip(work, ended, strict=True):
        if show:
            show(_outcome(job, one))
    return exit_code(failures[0]) if failures else 0


def _outcome(job: Job, outcome: T | BaseException) -> T | Fault:
    return Fault(outcome, job.source) if isinstance(outcome, BaseException) else outcome


async def _submit_all(
    client: AsyncClient, plan: Plan, bars: Bars, work: Sequence[Job], show: Callable[[Ran | Fault], None]
) -> int:
    """Upload all files, `jobs` at a time, and submit their tasks in few requests; nothing is waited for."""
    sent = await each(work, plan.jobs, bars, lambda job: uploaded(client, bars, job.name, job.input))
    here = [at for at, one in enumerate(sent) if not isinstance(one, BaseException)]
    outcomes = await client.tasks.submit_many(
        {"task_name": plan.task_name, "input_data": sent[at], **plan.options} for at in here
    )
    ended: list[Ran | BaseException] = list(sent)
    for at, outcome in zip(here, outcomes, strict=True):
        ended[at] = Ran(outcome, work[at].source) if isinstance(outcome, Task) else outcome
    return told_apart(work, ended, show)


async def _one(client: AsyncClient, plan: Plan, bars: Bars, under_way: set[str], job: Job) -> Ran:
    sent = await uploaded(client, bars, job.name, job.input)
    submitting = client.tasks.submit(plan.task_name, sent, task_id=plan.task_id, **plan.options)
    with noted(left_behind(job.input, sent), errors.ApiError):
        task = await accepted(submitting, lambda made: under_way.add(made.task_id))
    if plan.detach:
        return Ran(task, job.source)
    with noted(
        f"{task.task_id} goes on: `yivideo task watch {task.task_id}` shows it", errors.ConnectionFailed
    ):
        ended = await client.finish(task.task_id, partial(bars.event, job.name))
    under_way.discard(task.task_id)
    if job.folder is None:
        return Ran(ended, job.source)
    fetch = f"`yivideo task fetch {task.task_id} {job.folder}` fetches its files"
    with noted(f"{task.task_id} has completed: {fetch}", ClientError, OSError):
        return Ran(ended, job.source, await client.fetch_outputs(ended, job.folder))


async def accepted(submitting: Coroutine[Any, Any, T], note: Callable[[T], None]) -> T:
    """Submit; interrupted, it is first found out what was accepted, and noted, so that it can be cancelled."""
    asked = asyncio.ensure_future(submitting)
    try:
        made = await asyncio.shield(asked)
    except asyncio.CancelledError:
        await asyncio.wait({asked}, timeout=CANCEL_SECONDS)
        if asked.done() and not asked.cancelled() and asked.exception() is None:
            note(asked.result())
        asked.cancel()
        raise
    note(made)
    return made


@contextmanager
def noted(note: str, *kinds: type[BaseException]) -> Iterator[None]:
    """Add to an error of some kinds what its user should know; an empty note is none."""
    try:
        yield
    except kinds as error:
        if note:
            error.add_note(note)
        raise


def left_behind(given: Any, sent: Any) -> str:
    """Say what lies in the store of an input that is then refused: kept, since the next run, or another's now, finds it there."""
    paths = list(_stored(given, sent))
    return (
        f"its upload is kept for the next run; `yivideo file rm {' '.join(paths)}` removes it"
        if paths
        else ""
    )


def _stored(given: Any, sent: Any) -> Iterator[str]:
    if isinstance(given, Path):
        yield shlex.quote(sent)
    elif isinstance(given, dict):
        for name, one in given.items():
            yield from _stored(one, sent[name])
    elif isinstance(given, list):
        for one, stored in zip(given, sent, strict=True):
            yield from _stored(one, stored)


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

    async def one(task_id: str) -> None:
        with suppress(ClientError):
            await cancel(task_id)

    if ids:
        say(f"yivideo: cancels {', '.join(sorted(ids)) if len(ids) <= _MOST_NAMED else f'{len(ids)} tasks'}")
        await asyncio.wait({asyncio.ensure_future(one(task_id)) for task_id in ids}, timeout=CANCEL_SECONDS)
