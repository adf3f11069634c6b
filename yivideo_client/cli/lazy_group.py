"""The root's groups of commands, each loaded when it is asked for: who sends a file need not wait for what shows GPUs."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from typer.core import TyperGroup
from typer.main import get_group_from_info
from typer.models import TyperInfo

GROUPS = {
    "task": "task_commands",
    "workflow": "workflow_commands",
    "file": "file_commands",
    "gpu": "gpu_commands",
    "webhook": "webhook",
    "dev": "dev",
}
"""What stands behind `yivideo`, and the module whose `app` it is."""


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

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find a command; for one that there is not all are loaded, because the nearest names are looked up among those."""
        if args and args[0] not in self.list_commands(ctx):
            for name in GROUPS:
                self.get_command(ctx, name)
        return super().resolve_command(ctx, args)
