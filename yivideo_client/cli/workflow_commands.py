"""`yivideo workflow …`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from yivideo_client.cli.completion import template_names, workflow_ids
from yivideo_client.cli.field_command import FieldCommand
from yivideo_client.cli.options import (
    FolderOption,
    FormatOption,
    JsonOption,
    PlainFormatOption,
    results_folder,
)
from yivideo_client.cli.output import (
    Format,
    local_facts,
    print_facts,
    print_json,
    print_json_line,
    print_table,
)
from yivideo_client.cli.session import Session, first
from yivideo_client.cli.task_commands import event_line
from yivideo_client.cli.workflow_view import facts, show

if TYPE_CHECKING:
    from yivideo_client.cli.workflow_run import RanWorkflow
    from yivideo_client.client import AsyncClient
    from yivideo_client.workflow_models import Template, Workflow

app = typer.Typer(
    no_args_is_help=True,
    help="Workflows, tasks that run as one: templates, run, list, get, watch, wait, cancel, retry, delete, fetch.",
)

WorkflowIdArgument = Annotated[
    str, typer.Argument(help="The workflow's id.", show_default=False, autocompletion=workflow_ids)
]


@app.command(
    cls=FieldCommand,
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []},
    help="Run a template: `yivideo workflow run mended_subtitles old.srt -o out/`. Its parameters are options; "
    "`yivideo workflow run TEMPLATE --help` lists them. Several files are several workflows, and the results of each go to "
    "DIR/<its name>/.",
)
def run(
    context: typer.Context,
    template_name: Annotated[
        str,
        typer.Argument(
            metavar="TEMPLATE", help="For example film_to_subtitles.", autocompletion=template_names
        ),
    ],
    folder: FolderOption = None,
    every: Annotated[
        bool, typer.Option("--all", help="Download all that its tasks stored, not its results alone.")
    ] = False,
    workflow_id: Annotated[
        str | None, typer.Option("--id", help="The workflow's id; the same never runs twice.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Workflows under way at once.")] = 4,
    detach: Annotated[bool, typer.Option("--detach", help="Submit and do not wait.")] = False,
    callback: Annotated[
        str | None, typer.Option(help="URL that gets the signed result of the whole.")
    ] = None,
    label: Annotated[list[str] | None, typer.Option(help="name=value.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    form: PlainFormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Run a template on local files, watch it, and fetch its results."""
    from yivideo_client.cli.fields import print_help
    from yivideo_client.cli.run import Fault, Plan
    from yivideo_client.cli.words import own_options, split_words
    from yivideo_client.cli.workflow_run import RUN, as_task_type
    from yivideo_client.cli.workflow_run import run as run_all

    session: Session = context.obj
    if template_name in ("--help", "-h"):
        print(context.get_help())
        return
    if {"--help", "-h"} & set(context.args):
        found = session.run(lambda client: client.workflows.template(template_name))
        print_help(as_task_type(found), RUN)
        return
    given = {"callback": callback, "labels": dict(one.partition("=")[::2] for one in label or ()) or None}
    options = {name: value for name, value in given.items() if value is not None}

    async def work(client: AsyncClient) -> int:
        template = await client.workflows.template(template_name)
        files, words = split_words(as_task_type(template), context.args)
        results = results_folder(folder)
        plan = Plan(
            template_name,
            files,
            words,
            results,
            workflow_id,
            jobs,
            detach,
            options,
            RUN,
            own_options(context),
        )
        return await run_all(client, plan, template, write, every=every, quiet=quiet)

    def write(one: RanWorkflow | Fault) -> None:
        if as_json or form is Format.JSON:
            print_json_line(one.raw)
        elif not isinstance(one, Fault):
            print_facts({**facts(one.workflow), **local_facts(one.source, one.written)})

    sys.exit(session.run(work))


@app.command()
def templates(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(help="One template: its parameters.", autocompletion=template_names)
    ] = "",
    form: FormatOption = Format.TABLE,
) -> None:
    """List the workflows that are ready made, or the parameters of one."""
    session: Session = context.obj
    if name:
        from yivideo_client.cli.fields import print_help
        from yivideo_client.cli.workflow_run import RUN, as_task_type

        one = session.run(lambda client: client.workflows.template(name))
        print_json(one.raw) if form is Format.JSON else print_help(as_task_type(one), RUN)
        return

    async def work(client: AsyncClient) -> list[Template]:
        return list(await client.workflows.templates())

    found = session.run(work)
    if form is Format.JSON:
        print_json([one.raw for one in found])
        return
    print_table(
        ("TEMPLATE", "HERE", "WHAT IT DOES"),
        [
            (one.name, "yes" if one.available else f"no: {', '.join(one.missing)}", one.description)
            for one in found
        ],
    )


@app.command("list")
def list_workflows(
    context: typer.Context,
    status: Annotated[
        str, typer.Option(help="pending, running, completed, failed, cancelled; by commas.")
    ] = "",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many.")] = 20,
    form: FormatOption = Format.TABLE,
) -> None:
    """List workflows that were submitted as a whole, newest first."""
    session: Session = context.obj

    async def work(client: AsyncClient) -> list[Workflow]:
        return await first(limit, client.workflows.list(page_size=min(limit, 100), status=status))

    found = session.run(work)
    if form is Format.JSON:
        print_json([one.raw for one in found])
        return
    print_table(
        ("ID", "TEMPLATE", "STATE", "CREATED", "TASKS"),
        [
            (
                one.workflow_id,
                one.template,
                one.state,
                str(one.raw.get("create_at", ""))[:19],
                ", ".join(f"{count} {state}" for state, count in sorted(one.counts.items())),
            )
            for one in found
        ],
    )


@app.command()
def get(context: typer.Context, workflow_id: WorkflowIdArgument, form: FormatOption = Format.TABLE) -> None:
    """Show a workflow and its tasks."""
    session: Session = context.obj
    show(session.run(lambda client: client.workflows.get(workflow_id)), form)


@app.command()
def watch(
    context: typer.Context,
    workflow_id: WorkflowIdArgument,
    after: Annotated[int, typer.Option(min=0, help="Begin behind this event.")] = 0,
    form: FormatOption = Format.TABLE,
) -> None:
    """Show the events of a workflow and all of its tasks as they happen; exit code 1 when it fails or is cancelled."""
    session: Session = context.obj

    async def work(client: AsyncClient) -> str:
        workflow = await client.workflows.get(workflow_id)
        keys = {task.task_id: task.key or task.task_id for task in workflow.tasks}
        width = max(map(len, keys.values()), default=0)
        last = f"workflow_{workflow.status}"
        async for event in client.workflows.watch(workflow_id, after):
            if event.name.startswith("workflow_"):
                last = event.name
            if form is Format.JSON:
                print_json_line(event.data)
                continue
            key = keys.get(str(event.data.get("task_id")), "")
            print(
                event_line(event.name.removeprefix("workflow_"), event.data, f"{key:<{width}}  "), flush=True
            )
        return last

    if session.run(work) in ("workflow_failed", "workflow_cancelled"):
        sys.exit(1)


@app.command()
def wait(
    context: typer.Context,
    workflow_id: WorkflowIdArgument,
    timeout: Annotated[
        float | None, typer.Option(min=0, help="Seconds; exit code 7 when they are over.")
    ] = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Wait for a workflow's end and show it; exit code 1 when it failed or was cancelled."""
    session: Session = context.obj
    workflow = session.run(lambda client: client.workflows.wait(workflow_id, timeout))
    show(workflow, form)
    if workflow.status != "completed":
        sys.exit(1)


@app.command()
def cancel(
    context: typer.Context, workflow_id: WorkflowIdArgument, form: FormatOption = Format.TABLE
) -> None:
    """Stop every task of a workflow that has not ended."""
    session: Session = context.obj
    show(session.run(lambda client: client.workflows.cancel(workflow_id)), form)


@app.command()
def retry(
    context: typer.Context,
    workflow_id: WorkflowIdArgument,
    key: Annotated[
        list[str] | None,
        typer.Option("--from", help="Key of a task that runs again although it completed; repeat it."),
    ] = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Let an ended workflow go on from what failed; what completed keeps its result."""
    session: Session = context.obj
    show(session.run(lambda client: client.workflows.retry(workflow_id, key or ())), form)


@app.command()
def delete(
    context: typer.Context,
    workflow_id: WorkflowIdArgument,
    force: Annotated[bool, typer.Option("--force", help="Cancel it first when it has not ended.")] = False,
    form: FormatOption = Format.TABLE,
) -> None:
    """Remove a workflow with its tasks and their files."""
    session: Session = context.obj
    report: dict[str, Any] = session.run(lambda client: client.workflows.delete(workflow_id, force=force))
    rows = [
        (task["task_id"], one["resource"], one["status"], one["message"])
        for task in report["tasks"]
        for one in task["report"]["results"]
    ]
    record = report["record"]
    rows.append((workflow_id, record["resource"], record["status"], record["message"]))
    if form is Format.JSON:
        print_json(report)
    else:
        print_table(("OF", "RESOURCE", "STATUS", "MESSAGE"), rows)
    if report["status"] != "success":
        sys.exit(1)


@app.command()
def fetch(
    context: typer.Context,
    workflow_id: WorkflowIdArgument,
    folder: Annotated[Path, typer.Argument(help="Where to; it is made.")] = Path(),
    every: Annotated[
        bool, typer.Option("--all", help="All that its tasks stored, not its results alone.")
    ] = False,
) -> None:
    """Download what a workflow made."""
    session: Session = context.obj

    async def work(client: AsyncClient) -> list[Path]:
        workflow = await client.workflows.get(workflow_id)
        return await client.workflows.fetch_results(workflow, folder, every=every)

    for path in session.run(work):
        print(path)
