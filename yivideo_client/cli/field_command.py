"""Commands whose options are, besides their own, the fields of what they run: what only the installation knows."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand

if TYPE_CHECKING:
    from yivideo_client.models import Json

_WORDS_BEHIND = ["[FILE]...", "[--field value]...", "[OPTIONS]"]


class FieldCommand(TyperCommand):
    """A command that leaves the words it does not know to `words.split_words`, and completes them."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command's own options. A `--` stays where it is: what is behind it is a file, whatever it looks like."""
        if "--" in args:
            at = args.index("--")
            args = [*args[: at + 1], "--", *args[at + 1 :]]  # the parser takes one away
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Say what may stand behind its name."""
        return [self.params[0].make_metavar(ctx).strip("{}"), *_WORDS_BEHIND]

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Complete names of fields, and the values of one that has a choice."""
        found: list[Any] = super().shell_complete(ctx, incomplete)
        schema = _schema_asked(ctx, str(ctx.params.get(self.params[0].name) or ""))
        root = schema or {}
        if incomplete.startswith("-"):
            for name, field in root.get("properties", {}).items():
                flag = f"--{name}"
                if flag.startswith(incomplete):
                    said = str(field.get("description", "")).partition("\n")[0]
                    found.append(SimpleNamespace(value=flag, type="plain", help=said))
        elif ctx.args and ctx.args[-1].startswith("--"):
            field = root.get("properties", {}).get(ctx.args[-1][2:].replace("-", "_"), {})
            found += [
                SimpleNamespace(value=one, type="plain", help=None)
                for one in _choices(field, root)
                if one.startswith(incomplete)
            ]
        return found


def _schema_asked(context: Any, name: str) -> Json | None:
    from yivideo_client.cli.completion import parameters_of, schema_of

    if not name:
        return None
    return (
        parameters_of(context, name)
        if context.command.params[0].name == "template_name"
        else schema_of(context, name)
    )


def _choices(field: Json, root: Json) -> list[str]:
    from yivideo_client.cli.fields import resolved

    field = resolved(field, root)
    parts = [resolved(one, root) for one in field.get("anyOf", ())] or [field]
    choices = [
        one
        for part in parts
        for one in [*part.get("enum", ()), *([part["const"]] if "const" in part else [])]
    ]
    return [one for one in choices if isinstance(one, str)]
