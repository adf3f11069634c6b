"""Tells files from options in what stands behind `yivideo run TASK`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from yivideo_client.cli.fields import parser_of
from yivideo_client.models import TaskType

if TYPE_CHECKING:
    import typer


def split_words(task_type: TaskType, words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the files and the options with their values. What stands behind `--` is a file."""
    takes_value = {
        flag: action.nargs != 0 for action in parser_of(task_type)._actions for flag in action.option_strings
    }
    files: list[str] = []
    options: list[str] = []
    rest = iter(words)
    for word in rest:
        if word == "--":
            files += rest
        elif not word.startswith("-") or word == "-":
            files.append(word)
        else:
            options.append(word)
            if "=" not in word and takes_value.get(word, False):
                options += [value for value in [next(rest, None)] if value is not None]
    return files, options


def own_options(context: typer.Context) -> list[str]:
    """Return the options that a command has beside fields."""
    return [flag for one in context.command.params for flag in one.opts if flag.startswith("--")]
