"""`yivideo file …`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from yivideo_client.cli.bars import Bars
from yivideo_client.cli.options import FormatOption
from yivideo_client.cli.output import Format, print_json, print_table
from yivideo_client.cli.session import Session
from yivideo_client.local_file import name_in_store
from yivideo_client.models import StoredFile

if TYPE_CHECKING:
    from yivideo_client.client import AsyncClient

app = typer.Typer(no_args_is_help=True, help="Files of the store: put, get, ls, rm, url.")

RemotePath = Annotated[str, typer.Argument(help="Path in the store.", show_default=False)]


@app.command()
def put(
    context: typer.Context,
    source: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="Local file.")],
    path: Annotated[str, typer.Argument(help="Path in the store; default: the file's name.")] = "",
    only_new: Annotated[bool, typer.Option("--only-new", help="Refuse to replace a file.")] = False,
    parts: Annotated[
        bool,
        typer.Option(
            "--parts", help="In parts, four at a time; run again, it goes on with those that are missing."
        ),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Upload a file; writes the path that tasks can name."""
    session: Session = context.obj

    async def work(client: AsyncClient) -> StoredFile:
        with Bars(quiet=quiet) as bars:
            shown = partial(bars.transfer, source.name, "uploaded")
            return await client.files.upload(
                source,
                path or name_in_store(source.name),
                only_new=only_new,
                parts=parts or None,
                progress=shown,
            )

    print(session.run(work).path)


@app.command()
def get(
    context: typer.Context,
    path: RemotePath,
    target: Annotated[str, typer.Argument(help="Local file or folder; default: here.")] = ".",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Download a file; one that was interrupted goes on. Writes the local path."""
    session: Session = context.obj
    name = path.rpartition("/")[2]
    if name in ("", ".", ".."):
        raise typer.BadParameter(f"{path!r} names no file; `yivideo file ls {path}` lists what is below it")
    is_folder = target.endswith("/") or Path(target).is_dir()
    where = Path(target, name) if is_folder else Path(target)

    async def work(client: AsyncClient) -> None:
        with Bars(quiet=quiet) as bars:
            await client.files.download(path, where, progress=partial(bars.transfer, name, "downloaded"))

    session.run(work)
    print(where)


@app.command("ls")
def list_files(
    context: typer.Context,
    prefix: Annotated[str, typer.Argument(help="What paths begin with.")] = "",
    form: FormatOption = Format.TABLE,
) -> None:
    """List files."""
    session: Session = context.obj

    async def work(client: AsyncClient) -> list[StoredFile]:
        return [file async for file in client.files.list(prefix)]

    files = session.run(work)
    if form is Format.JSON:
        print_json([file.raw for file in files])
        return
    print_table(
        ("SIZE", "MODIFIED", "PATH"),
        [(file.size, str(file.raw.get("last_modified", ""))[:19], file.path) for file in files],
    )


@app.command("rm")
def remove(context: typer.Context, path: RemotePath) -> None:
    """Remove a file."""
    session: Session = context.obj
    session.run(lambda client: client.files.remove(path))


@app.command()
def url(
    context: typer.Context,
    path: RemotePath,
    hours: Annotated[int, typer.Option(min=1, max=168, help="How long it works.")] = 24,
) -> None:
    """Write a URL that works without a key for some hours."""
    session: Session = context.obj
    print(session.run(lambda client: client.files.link(path, hours=hours)))
