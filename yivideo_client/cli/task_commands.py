"""`yivideo task …`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from yivideo_client.cli.options import FormatOption, TaskIdArgument
from yivideo_client.cli.output import Format, print_facts, print_json, print_json_line, print_table
from yivideo_client.cli.plain import plain
from yivideo_client.cli.session import Session, first
from yivideo_client.models import TERMINAL_EVENTS, Task

if TYPE_CHECKING:
    from yivideo_client.client import AsyncClient

app = typer.Typer(no_args_is_help=True, help="Tasks: list, get, watch, cancel, retry, delete.")


def facts(task: Task) -> dict[str, object]:
    """Return what a person wants to know of a task."""
    shown: dict[str, object] = {
        "id": task.task_id,
        "task": task.task_name,
        "state": task.state,
        "message": task.message,
    }
    shown = {name: value for name, value in shown.items() if value}  # not every answer tells the type
    if task.error:
        shown["error"] = f"{task.error.code}: {task.error.message}"
    if task.progress and not task.ended:
        shown["progress"] = f"{task.progress.percent:.0f} % {task.progress.message or task.progress.stage}"
    for index, file in enumerate(task.files):
        shown["files" if index == 0 else f"  {index + 1}"] = f"{file.path} ({file.size} bytes)"
    return shown


def show(task: Task, form: Format) -> None:
    """Write one task."""
    if form is Format.JSON:
        print_json(task.raw)
    else:
        print_facts(facts(task))


@app.command("list")
def list_tasks(
    context: typer.Context,
    status: Annotated[
        str, typer.Option(help="pending, running, completed, failed, cancelled; by commas.")
    ] = "",
    task_name: Annotated[str, typer.Option("--task", help="Only this type.")] = "",
    workflow_id: Annotated[str, typer.Option("--workflow", help="Only this workflow.")] = "",
    label: Annotated[list[str] | None, typer.Option(help="name=value; repeat it to ask for several.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many.")] = 20,
    form: FormatOption = Format.TABLE,
) -> None:
    """List tasks, newest first."""
    session: Session = context.obj

    async def work(client: AsyncClient) -> list[Task]:
        conditions = {"status": status, "task_name": task_name, "workflow_id": workflow_id, "label": label}
        return await first(limit, client.tasks.list(page_size=min(limit, 500), **conditions))

    tasks = session.run(work)
    if form is Format.JSON:
        print_json([task.raw for task in tasks])
        return
    print_table(
        ("ID", "TASK", "STATE", "CREATED", "MESSAGE"),
        [
            (task.task_id, task.task_name, task.state, str(task.raw.get("created_at", ""))[:19], task.message)
            for task in tasks
        ],
    )


@app.command()
def get(context: typer.Context, task_id: TaskIdArgument, form: FormatOption = Format.TABLE) -> None:
    """Show a task."""
    session: Session = context.obj
    show(session.run(lambda client: client.tasks.get(task_id)), form)


@app.command()
def watch(
    context: typer.Context,
    task_id: TaskIdArgument,
    after: Annotated[int, typer.Option(min=0, help="Begin behind this event.")] = 0,
    form: FormatOption = Format.TABLE,
) -> None:
    """Show a task's events as they happen, to its end; exit code 1 when it fails or is cancelled."""
    session: Session = context.obj

    async def work(client: AsyncClient) -> str:
        last = ""
        async for event in client.tasks.watch(task_id, after):
            last = event.name
            if form is Format.JSON:
                print_json_line(event.data)
            else:
                print(event_line(event.name, event.data), flush=True)
        # Behind the last event nothing comes, and how it ended is still asked for.
        return last if last in TERMINAL_EVENTS else (await client.tasks.get(task_id)).status

    if session.run(work) in ("failed", "cancelled"):
        sys.exit(1)


def event_line(name: str, data: dict[str, Any], whose: str = "") -> str:
    """Write an event for people; `whose` stands before its name."""
    when = str(data.get("time", ""))[11:19]
    if name == "progress":
        said = f"{data.get('percent', 0):5.1f} %  {data.get('message') or data.get('stage') or ''}"
    else:
        said = str(data.get("message") or data.get("error") or data.get("reason") or data.get("node") or "")
    return plain(f"{when}  {whose}{name:<15}  {said}".rstrip())


@app.command()
def wait(
    context: typer.Context,
    task_id: TaskIdArgument,
    timeout: Annotated[
        float | None, typer.Option(min=0, help="Seconds; exit code 7 when they are over.")
    ] = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Wait for a task's end and show it; exit code 1 when it failed or was cancelled."""
    session: Session = context.obj
    task = session.run(lambda client: client.tasks.wait(task_id, timeout))
    show(task, form)
    if task.status != "completed":
        sys.exit(1)


@app.command()
def cancel(context: typer.Context, task_id: TaskIdArgument, form: FormatOption = Format.TABLE) -> None:
    """Stop a task."""
    session: Session = context.obj
    show(session.run(lambda client: client.tasks.cancel(task_id)), form)


@app.command()
def retry(context: typer.Context, task_id: TaskIdArgument, form: FormatOption = Format.TABLE) -> None:
    """Submit an ended task's request again, under a new id."""
    session: Session = context.obj
    show(session.run(lambda client: client.tasks.retry(task_id)), form)


@app.command()
def delete(
    context: typer.Context,
    task_id: TaskIdArgument,
    force: Annotated[bool, typer.Option("--force", help="Cancel it first when it has not ended.")] = False,
    form: FormatOption = Format.TABLE,
) -> None:
    """Remove a task with its events and files."""
    session: Session = context.obj
    report = session.run(lambda client: client.tasks.delete(task_id, force=force))
    if form is Format.JSON:
        print_json(report)
    else:
        rows = [(one["resource"], one["status"], one["message"]) for one in report["results"]]
        print_table(("RESOURCE", "STATUS", "MESSAGE"), rows)
    if report["status"] != "success":
        sys.exit(1)


@app.command()
def logs(context: typer.Context, task_id: TaskIdArgument, form: FormatOption = Format.TABLE) -> None:
    """Show what a task's node said, to its end."""
    session: Session = context.obj

    async def work(client: AsyncClient) -> None:
        async for event in client.tasks.watch(task_id):
            if event.name == "log" and form is Format.JSON:
                print_json_line(event.data)
            elif event.name == "log":
                said = [str(event.data.get(name, "")) for name in ("time", "level", "message")]
                print(plain("  ".join(said)), flush=True)

    session.run(work)


@app.command()
def fetch(
    context: typer.Context,
    task_id: TaskIdArgument,
    folder: Annotated[str, typer.Argument(help="Where to; it is made.")] = ".",
) -> None:
    """Download what a task stored."""
    from pathlib import Path

    session: Session = context.obj

    async def work(client: AsyncClient) -> list[Path]:
        return await client.fetch_outputs(await client.tasks.get(task_id), Path(folder))

    for path in session.run(work):
        print(path)
