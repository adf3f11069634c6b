"""Options and arguments that several groups of commands take."""

from __future__ import annotations

from typing import Annotated

import typer

from yivideo_client.cli.completion import task_ids
from yivideo_client.cli.output import Format

TaskIdArgument = Annotated[
    str, typer.Argument(help="The task's id.", show_default=False, autocompletion=task_ids)
]
FormatOption = Annotated[Format, typer.Option("--format", "-o", help="How data is written.")]
