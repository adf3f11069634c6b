"""The command line's root: options that every command has, and the commands that stand alone."""

from __future__ import annotations

import sys
from io import TextIOWrapper
from typing import TYPE_CHECKING, Annotated, Any

import typer

from yivideo_client.cli.completion import profiles, task_names
from yivideo_client.cli.failures import told
from yivideo_client.cli.field_command import FieldCommand
from yivideo_client.cli.lazy_group import LazyGroup
from yivideo_client.cli.options import (
    FolderOption,
    FormatOption,
    JsonOption,
    PlainFormatOption,
    TaskIdArgument,
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
from yivideo_client.cli.session import Session

if TYPE_CHECKING:
    from yivideo_client.cli.run import Ran
    from yivideo_client.client import AsyncClient
    from yivideo_client.models import TaskType

app = typer.Typer(
    name="yivideo",
    cls=LazyGroup,
    help="Runs AI media tasks on a YiVideo installation.",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help needs no rich, which costs a tenth of a second
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _options(
    context: typer.Context,
    url: Annotated[
        str | None, typer.Option(envvar="YIVIDEO_URL", help="The gateway; default http://127.0.0.1:8788.")
    ] = None,
    api_key: Annotated[
        str | None, typer.Option(envvar="YIVIDEO_API_KEY", help="yiv_…", show_envvar=True)
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(
            envvar="YIVIDEO_PROFILE",
            help="Table of ~/.config/yivideo/profiles.toml.",
            autocompletion=profiles,
        ),
    ] = None,
) -> None:
    """Runs AI media tasks on a YiVideo installation."""
    context.obj = Session(url, api_key, profile)


@app.command(
    cls=FieldCommand,
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []},
    help="Run a task: `yivideo run ffmpeg.extract_audio film.mp4 -o out/`. Fields of the task are options; "
    "`yivideo run TASK --help` lists them. Several files are several tasks, and the results of each go to DIR/<its name>/.",
)
def run(
    context: typer.Context,
    task_name: Annotated[
        str,
        typer.Argument(metavar="TASK", help="For example ffmpeg.extract_audio.", autocompletion=task_names),
    ],
    folder: FolderOption = None,
    task_id: Annotated[
        str | None, typer.Option("--id", help="The task's id; the same never runs twice.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Tasks under way at once.")] = 4,
    detach: Annotated[bool, typer.Option("--detach", help="Submit and do not wait.")] = False,
    priority: Annotated[int | None, typer.Option(min=-100, max=100)] = None,
    callback: Annotated[str | None, typer.Option(help="URL that gets the signed result.")] = None,
    label: Annotated[list[str] | None, typer.Option(help="name=value.")] = None,
    after: Annotated[
        list[str] | None, typer.Option(help="Id of a task that must have completed; repeat it.")
    ] = None,
    workflow: Annotated[str | None, typer.Option(help="workflow_id.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    form: PlainFormatOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Run a task on local files, watch it, and fetch its results."""
    from yivideo_client.cli.fields import print_help
    from yivideo_client.cli.run import Fault, Plan, run, task_type_named
    from yivideo_client.cli.task_commands import facts
    from yivideo_client.cli.words import own_options, split_words

    session: Session = context.obj
    if task_name in ("--help", "-h"):
        print(context.get_help())
        return
    if {"--help", "-h"} & set(context.args):
        print_help(session.run(lambda client: task_type_named(client, task_name)))
        return
    options: dict[str, Any] = {
        "priority": priority,
        "callback": callback,
        "workflow_id": workflow,
        "depends_on": after or None,
        "labels": dict(one.partition("=")[::2] for one in label or ()) or None,
    }
    options = {name: value for name, value in options.items() if value is not None}

    async def work(client: AsyncClient) -> int:
        task_type = await task_type_named(client, task_name)
        files, words = split_words(task_type, context.args)
        results = results_folder(folder)
        plan = Plan(
            task_name, files, words, results, task_id, jobs, detach, options, own=own_options(context)
        )
        return await run(client, plan, task_type, write, quiet=quiet)

    def write(one: Ran | Fault) -> None:
        if as_json or form is Format.JSON:
            print_json_line(one.raw)
        elif not isinstance(one, Fault):
            print_facts({**facts(one.task), **local_facts(one.source, one.written)})

    sys.exit(session.run(work))


@app.command()
def types(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="One type: its fields.", autocompletion=task_names)] = "",
    form: FormatOption = Format.TABLE,
) -> None:
    """List the tasks that the installation knows, or the fields of one."""
    from yivideo_client.cli.fields import print_help
    from yivideo_client.cli.run import task_type_named

    session: Session = context.obj
    if name:
        one = session.run(lambda client: task_type_named(client, name))
        print_json(one.raw) if form is Format.JSON else print_help(one)
        return

    async def work(client: AsyncClient) -> list[TaskType]:
        return list(await client.tasks.types())

    found = session.run(work)
    if form is Format.JSON:
        print_json([one.raw for one in found])
        return
    print_table(("TASK", "WHAT IT DOES"), [(one.name, one.description.partition("\n")[0]) for one in found])


@app.command()
def status(context: typer.Context, form: FormatOption = Format.TABLE) -> None:
    """Show the installation: parts, nodes, queues, GPUs; exit code 6 when something is wrong.

    A key without the scope `operations` is told whether tasks can be run, and no more.
    """
    from yivideo_client.cli.status import is_well, print_status, read_status

    session: Session = context.obj
    found = session.run(read_status)
    print_json(found) if form is Format.JSON else print_status(found)
    if not is_well(found):
        sys.exit(6)


@app.command()
def callbacks(
    context: typer.Context,
    task_id: TaskIdArgument,
    redeliver: Annotated[bool, typer.Option("--redeliver", help="Send it once more.")] = False,
    form: FormatOption = Format.TABLE,
) -> None:
    """Show how a task's callback fared."""
    session: Session = context.obj

    async def work(client: AsyncClient) -> dict[str, Any]:
        if redeliver:
            await client.tasks.redeliver(task_id)
        return await client.tasks.deliveries(task_id)

    found = session.run(work)
    if form is Format.JSON:
        print_json(found)
        return
    print_facts({"status": found["callback_status"], "next attempt": found["next_attempt_at"]})
    print_table(
        ("ATTEMPT", "TIME", "HTTP", "SECONDS", "ERROR"),
        [
            (one["attempt"], one["time"], one["http_status"], one["duration_seconds"], one["error"])
            for one in found["deliveries"]
        ],
    )


def main() -> None:
    """Run the command line of this process."""
    # Names of local files are bytes, and not all of them text: they are written as they are.
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")
    with told():
        try:
            app()
        finally:
            sys.stdout.flush()


if __name__ == "__main__":
    main()
