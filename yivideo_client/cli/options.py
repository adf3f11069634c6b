"""Options and arguments that several groups of commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from yivideo_client.cli.completion import task_ids
from yivideo_client.cli.failures import UsageError
from yivideo_client.cli.output import Format

TaskIdArgument = Annotated[
    str, typer.Argument(help="The task's id.", show_default=False, autocompletion=task_ids)
]
FolderOption = Annotated[
    str | None, typer.Option("--output-dir", "-o", help="Folder that results are downloaded to; it is made.")
]
PlainFormatOption = Annotated[
    Format, typer.Option("--format", help="How results are written; json: a line each.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="The same as --format json.")]
FormatOption = Annotated[Format, typer.Option("--format", "-o", help="How data is written.")]


def results_folder(given: str | None) -> Path | None:
    """Return the folder that `-o` names. Raises UsageError for what it means in every other command."""
    if given in tuple(Format):
        raise UsageError(
            f"-o is the folder for results here: --format {given} says how they are written, ./{given} is a folder"
        )
    return Path(given) if given is not None else None
