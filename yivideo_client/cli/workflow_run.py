"""`yivideo workflow run`: local files in, a watched workflow each, its results in a local folder."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from yivideo_client.cli.bars import Bars
from yivideo_client.cli.output import with_local_files
from yivideo_client.cli.run import (
    Fault,
    Job,
    Plan,
    accepted,
    cancel_all,
    each,
    jobs_of,
    left_behind,
    noted,
    told_apart,
    uploaded,
)
from yivideo_client.errors import ApiError, ClientError, ConnectionFailed
from yivideo_client.models import TERMINAL_EVENTS, Event, Json, TaskType
from yivideo_client.workflow_models import Template, Workflow

if TYPE_CHECKING:
    from yivideo_client.client import AsyncClient

RUN = "yivideo workflow run"


@dataclass(frozen=True)
class RanWorkflow:
    """A workflow that was run, and what is here of it."""

    workflow: Workflow
    source: str = ""
    """The local file that went in."""
    written: Sequence[Path] = ()
    """The local files that came out."""

    @property
    def raw(self) -> Json:
        """The server's answer, and what is here."""
        return with_local_files(self.workflow.raw, self.source, self.written)


def as_task_type(template: Template) -> TaskType:
    """Let a template's parameters be read as a task's fields; plain text that must be given may be a local file."""
    properties = template.parameters.get("properties", {})
    files = tuple(
        f"/{name}"
        for name in template.parameters.get("required", ())
        if (schema := properties.get(name, {})).get("type") == "string"
        and not {"enum", "pattern"} & set(schema)
    )
    return TaskType(template.name, template.description, template.parameters, {}, files)


async def run(
    client: AsyncClient, plan: Plan, template: Template, show: Callable[[RanWorkflow | Fault], None], *,
    every: bool, quiet: bool,
) -> int:  # fmt: skip
    """Run a plan's workflows, `jobs` at a time, and have what came of each shown as `run` does; returns the exit code.

    One that fails does not stop the others. Interrupted, it cancels what is under way. `every`: download all that was stored.
    """
    work = jobs_of(plan, as_task_type(template))
    under_way, at_once = set[str](), None if sys.stdout.isatty() else show
    with Bars(quiet=quiet, jobs=len(work)) as bars:
        one = partial(_one, client, plan, bars, under_way, every, len(work) > 1)
        try:
            ended = await each(work, plan.jobs, bars, one, at_once)
        except BaseException:
            await cancel_all(client.workflows.cancel, under_way)
            raise
    return told_apart(work, ended, None if at_once else show)


async def _one(
    client: AsyncClient, plan: Plan, bars: Bars, under_way: set[str], every: bool, several: bool, job: Job
) -> RanWorkflow:
    sent = await uploaded(client, bars, job.name, job.input)
    submitting = client.workflows.submit(plan.task_name, sent, workflow_id=plan.task_id, **plan.options)
    with noted(left_behind(job.input, sent), ApiError):
        workflow = await accepted(submitting, lambda made: under_way.add(made.workflow_id))
    if plan.detach:
        return RanWorkflow(workflow, job.source)
    at = workflow.workflow_id
    rows = Rows(bars, job.name, {task.task_id: task.key for task in workflow.tasks}, several=several)
    with noted(f"{at} goes on: `yivideo workflow watch {at}` shows it", ConnectionFailed):
        ended = await client.workflows.finish(at, rows.event)
    under_way.discard(at)
    if job.folder is None:
        return RanWorkflow(ended, job.source)
    fetch = f"`yivideo workflow fetch {at} {job.folder}` fetches its files"
    with noted(f"{at} has completed: {fetch}", ClientError, OSError):
        written = await client.workflows.fetch_results(ended, job.folder, every=every)
    return RanWorkflow(ended, job.source, written)


class Rows:
    """Shows a workflow as a row of its own, which says how many of its tasks have ended, and one for each task."""

    def __init__(self, bars: Bars, name: str, keys: dict[str, str], *, several: bool) -> None:
        self._bars = bars
        self._name = name
        self._keys = keys
        self._several = several
        self._ended = set[str]()

    def event(self, event: Event) -> None:
        """Show an event of the one stream."""
        task_id = event.data.get("task_id")
        if task_id is None:
            note = event.name.removeprefix("workflow_")
            self._bars.show(self._name, 100.0 if note == "completed" else None, note)
            return
        key = self._keys.get(task_id, task_id)
        self._bars.event(f"{self._name}: {key}" if self._several else f"  {key}", event)
        if event.name in TERMINAL_EVENTS:
            self._ended.add(task_id)
            share = 100.0 * len(self._ended) / max(len(self._keys), len(self._ended))
            note = f"{len(self._ended)} of {len(self._keys)} tasks"
            if share < 100.0:
                self._bars.show(self._name, share, note)
