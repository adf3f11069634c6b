"""`yivideo file …`."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

from yivideo_client.cli.bars import Bars
from yivideo_client.cli.completion import stored_paths
from yivideo_client.cli.failures import UsageError, exit_code, tell, told
from yivideo_client.cli.options import FormatOption
from yivideo_client.cli.output import Format, print_json, print_json_line, print_table
from yivideo_client.cli.session import Session
from yivideo_client.errors import ApiError
from yivideo_client.local_file import is_stream, name_in_store, opened
from yivideo_client.models import StoredFile
from yivideo_client.waiting_open import opened_when_ready

if TYPE_CHECKING:
    from yivideo_client.client import AsyncClient

app = typer.Typer(no_args_is_help=True, help="Files of the store: put, get, ls, rm, url.")

RemotePath = Annotated[
    str, typer.Argument(help="Path in the store.", show_default=False, autocompletion=stored_paths)
]
STDIN = STDOUT = "-"
"""What stands for the pipe that a command is given."""


@app.command()
def put(
    context: typer.Context,
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE [PATH]",
            show_default=False,
            help="Local file, and its path in the store; default: its name. - is standard input, and needs a path. "
            "A path that ends in / is a folder, and takes several files.",
        ),
    ],
    only_new: Annotated[bool, typer.Option("--only-new", help="Refuse to replace a file.")] = False,
    parts: Annotated[
        bool,
        typer.Option(
            "--parts", help="In parts, four at a time; run again, it goes on with those that are missing."
        ),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    form: FormatOption = Format.TABLE,
) -> None:
    """Upload a file; writes the path that tasks can name, or with `-o json` a line with its size and checksum."""
    session: Session = context.obj

    async def work(client: AsyncClient, bars: Bars, source: str, path: str) -> StoredFile:
        if source == STDIN or is_stream(source):
            shown = partial(bars.stream, path.rpartition("/")[2], "uploaded")
            async with opened_source(source) as stream:
                return await client.files.upload_stream(stream, path, only_new=only_new, progress=shown)
        file = Path(source)
        return await client.files.upload(
            file, path, only_new=only_new, parts=parts or None, progress=partial(bars.transfer, file.name, "uploaded")
        )  # fmt: skip

    async def all_of_them(client: AsyncClient) -> None:
        with Bars(quiet=quiet) as bars:
            for source, path in pairs:
                stored = await work(client, bars, source, path)
                print_json_line(stored.raw) if form is Format.JSON else print(stored.path, flush=True)

    with told():
        pairs = destinations(words)
    session.run(all_of_them)


@asynccontextmanager
async def opened_source(source: str) -> AsyncIterator[IO[bytes]]:
    """Open what is read to its end: standard input, or a pipe, which waits for its writer. Raises OSError."""
    if source == STDIN:
        yield sys.stdin.buffer
        return
    descriptor = await opened_when_ready(Path(source), lambda path: os.open(path, os.O_RDONLY | os.O_NOCTTY))
    assert descriptor is not None
    with os.fdopen(descriptor, "rb", buffering=0) as stream:
        yield stream


def destinations(words: Sequence[str]) -> list[tuple[str, str]]:
    """Return each local file with its path in the store. Raises UsageError, and OSError for a file that is not there."""
    *files, path = words if len(words) > 1 else [*words, ""]
    if len(files) > 1 and not path.endswith("/"):
        raise UsageError(f"several files go into a folder of the store, and {path!r} does not end in /")
    pairs = []
    for source in files:
        if source == STDIN and (not path or path.endswith("/")):
            raise UsageError(
                "standard input has no name: say where it goes, `yivideo file put - films/film.mp4`"
            )
        if source != STDIN and not is_stream(source):
            with opened(Path(source)):
                pass
        name = name_in_store(Path(source).name)
        pairs.append((source, path + name if not path or path.endswith("/") else path))
    return pairs


@app.command()
def get(
    context: typer.Context,
    path: RemotePath,
    target: Annotated[
        str,
        typer.Argument(
            help="Local file or folder; default: here. A folder that ends in / is made. - is standard output."
        ),
    ] = ".",
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
            shown = partial(bars.transfer, name, "downloaded")
            if target == STDOUT:
                await client.files.download_to(path, sys.stdout.buffer, progress=shown)
                return
            if is_folder:
                await client.files.stat(path)  # no folder is made for what is not there
                where.parent.mkdir(parents=True, exist_ok=True)
            await client.files.download(path, where, progress=shown)

    session.run(work)
    if target != STDOUT and where.is_file():
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
def remove(
    context: typer.Context,
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH …", help="Paths in the store.", show_default=False, autocompletion=stored_paths),
    ],
) -> None:  # fmt: skip
    """Remove files. What is not there does not keep the others; the exit code is then 4."""
    session: Session = context.obj

    async def work(client: AsyncClient) -> int:
        code = 0
        for path in paths:
            try:
                await client.files.remove(path)
            except ApiError as error:
                tell(error, path if len(paths) > 1 else "")
                code = code or exit_code(error)
        return code

    sys.exit(session.run(work))


@app.command()
def url(
    context: typer.Context,
    path: RemotePath,
    hours: Annotated[int, typer.Option(min=1, max=168, help="How long it works.")] = 24,
) -> None:
    """Write a URL that works without a key for some hours."""
    session: Session = context.obj
    print(session.run(lambda client: client.files.link(path, hours=hours)))
