"""The root's groups of commands, each loaded when it is asked for: who sends a file need not wait for what shows GPUs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from typer import Abort
from typer.core import TyperGroup
from typer.main import get_group_from_info
from typer.models import TyperInfo

from yivideo_client.cli.failures import UsageError, told

GROUPS = {
    "task": "task_commands",
    "workflow": "workflow_commands",
    "file": "file_commands",
    "gpu": "gpu_commands",
    "webhook": "webhook",
    "dev": "dev",
}
"""What stands behind `yivideo`, and the module whose `app` it is."""

ROOT_OPTIONS = ("--url", "--api-key", "--profile")
"""What the root takes; each has a value."""


class LazyGroup(TyperGroup):
    """The root: its own commands, and those groups."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Name all, loaded or not."""
        return list(
            dict.fromkeys([*(name for name in super().list_commands(ctx) if name not in GROUPS), *GROUPS])
        )

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Load a group when it is first asked for."""
        if cmd_name in GROUPS and cmd_name not in self.commands:
            module = import_module(f"yivideo_client.cli.{GROUPS[cmd_name]}")
            self.commands[cmd_name] = get_group_from_info(
                TyperInfo(module.app, name=cmd_name),
                pretty_exceptions_short=True,
                rich_markup_mode=self.rich_markup_mode,
                suggest_commands=self.suggest_commands,
            )
        return super().get_command(ctx, cmd_name)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the root's options, wherever among the words of a command they stand."""
        return super().parse_args(ctx, hoisted(args))

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for; what fails while it writes has an exit code like what fails before."""
        with told():
            try:
                result = super().invoke(ctx)
            except Abort:  # of a question
                if sys.stdin.isatty():
                    raise KeyboardInterrupt from None
                raise UsageError("there is nobody to answer; every question is an option, too") from None
            sys.stdout.flush()
            return result

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find a command; for one that there is not all are loaded, because the nearest names are looked up among those."""
        if args and args[0] not in self.list_commands(ctx):
            for name in GROUPS:
                self.get_command(ctx, name)
        return super().resolve_command(ctx, args)


def hoisted(args: Sequence[str]) -> list[str]:
    """Return the words of a command line with the root's options in front, where they may stand behind the command, too.

    Not behind `run`: there a field may have such a name.
    """
    front: list[str] = []
    behind: list[str] = []
    rest = iter(args)
    for word in rest:
        if word == "--" or behind[:1] == ["run"] or behind[:2] == ["workflow", "run"]:
            behind += [word, *rest]
        elif word in ROOT_OPTIONS:
            front += [word, *(value for value in [next(rest, None)] if value is not None)]
        elif word.partition("=")[0] in ROOT_OPTIONS:
            front.append(word)
        else:
            behind.append(word)
    return [*front, *behind]
