"""A task's input on the command line: options made of the JSON Schema that the installation publishes for its type."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any, NoReturn

import orjson

from yivideo_client.cli.failures import UsageError
from yivideo_client.cli.lazy_group import ROOT_OPTIONS
from yivideo_client.local_file import is_file_here
from yivideo_client.models import Json, TaskType

_PATH_ENDINGS = ("_path", "_file", "_url", "_paths", "_files")
_ARCHIVES = (".zip", ".tar", ".tgz", ".tbz2", ".txz", ".tar.gz", ".tar.bz2", ".tar.xz")

RUN = "yivideo run"


class _Parser(argparse.ArgumentParser):
    own: Sequence[str] = ()
    """Options of the command itself."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; {self._near(message)}`{self.prog} --help` lists the fields")

    def _near(self, message: str) -> str:
        said, _, words = message.partition("unrecognized arguments: ")
        if said or not words:
            return ""
        word = words.split()[0].partition("=")[0]
        if word in ROOT_OPTIONS:
            return (
                f"{word} stands before the command: `yivideo {word} … {self.prog.removeprefix('yivideo ')}`; "
            )
        near = difflib.get_close_matches(word, [*self._option_string_actions, *self.own], 1)
        return f"did you mean {near[0]}? " if near else ""


def resolved(schema: Json, root: Json) -> Json:
    """Follow `$ref` into `$defs`, and look through "this or null"."""
    while True:
        if "$ref" in schema:
            target: Any = root
            for part in str(schema["$ref"]).removeprefix("#/").split("/"):
                target = target[part]
            schema = {**target, **{name: value for name, value in schema.items() if name != "$ref"}}
            continue
        choices = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
        if len(choices) == 1:
            rest = {name: value for name, value in schema.items() if name != "anyOf"}
            schema = {**choices[0], **rest}
            continue
        return schema


def input_file_field(task_type: TaskType, given: Container[str] = (), path: str | None = None) -> str | None:
    """Return the input field that a file on the command line is meant for.

    It is the first one that is not given as an option: of the media fields that must be there, of the other media fields,
    of the fields that are paths by their name. A list of media is one of them: `as_input` says what it is given. An archive,
    by its name, goes to a field that says that it takes many files (`x-takes: folder`), where there is one.
    """
    properties = task_type.input_schema.get("properties", {})
    media = [pointer.removeprefix("/").removesuffix("/*") for pointer in task_type.media_fields]
    required = task_type.input_schema.get("required", [])
    paths = [name for name in properties if name.endswith(("_path", "_file"))]
    ordered = [*(name for name in media if name in required), *media, *paths]
    free = [name for name in ordered if "/" not in name and name not in given]
    if path is not None and path.lower().endswith(_ARCHIVES):
        free.sort(key=lambda name: not _takes_folder(properties.get(name, {}), task_type.input_schema))
    return next(iter(free), None)


def _takes_folder(schema: Json, root: Json) -> bool:
    return resolved(schema, root).get("x-takes") == "folder"


def as_input(task_type: TaskType, name: str, path: Path) -> Path | list[Path]:
    """Return what the field of `input_file_field` is given for a file: itself, or a list of it alone."""
    return [path] if f"/{name}/*" in task_type.media_fields else path


def parser_of(task_type: TaskType, command: str = RUN, own: Sequence[str] = ()) -> argparse.ArgumentParser:
    """Return a parser that knows each field of a task's input, with its type, range, choices, default and description.

    `own` are the options of the command itself, which are offered too where one is spelled wrongly.
    """
    parser = _Parser(
        prog=f"{command} {task_type.name}",
        usage=f"{command} {task_type.name} [FILE …] [--field value …]",
        description=task_type.description,
        add_help=False,
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.own = own
    group = parser.add_argument_group("fields")
    root = task_type.input_schema
    required = set(root.get("required", ()))
    for name, schema in root.get("properties", {}).items():
        _add(group, name, resolved(schema, root), root, name in required)
    return parser


def _add(group: Any, name: str, schema: Json, root: Json, is_required: bool) -> None:
    flags = [f"--{name}"]
    if "_" in name:
        flags.append(f"--{name.replace('_', '-')}")
    options: dict[str, Any] = {"dest": name, "help": _help(schema, is_required)}
    kind = schema.get("type")
    if kind == "boolean":
        options["action"] = argparse.BooleanOptionalAction
    elif kind == "array":
        options.update(action="append", metavar=_metavar(resolved(schema.get("items", {}), root)))
    else:
        options["metavar"] = _metavar(schema)
    group.add_argument(*flags, **options)


def _metavar(schema: Json) -> str:
    if "enum" in schema:
        return "|".join(str(one) for one in schema["enum"])
    return {"integer": "N", "number": "X", "object": "JSON", "string": "TEXT"}.get(
        str(schema.get("type")), "VALUE"
    )


def _help(schema: Json, is_required: bool) -> str:
    parts = [str(schema.get("description", "")).strip()]
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None or high is not None:
        parts.append(f"[{'' if low is None else low}..{'' if high is None else high}]")
    if is_required:
        parts.append("(required)")
    elif schema.get("default") not in (None, "", [], {}):
        parts.append(f"(default: {orjson.dumps(schema['default']).decode()})")
    return " ".join(part for part in parts if part).replace("%", "%%")


def parse(task_type: TaskType, words: Sequence[str], command: str = RUN, own: Sequence[str] = ()) -> Json:
    """Return the input that options give. Text is typed by the schema; the server has the last word on values.

    Raises UsageError that names the option.
    """
    root = task_type.input_schema
    properties = root.get("properties", {})
    given = vars(parser_of(task_type, command, own).parse_args(list(words)))
    read = {
        name: _value(name, value, resolved(properties[name], root), root) for name, value in given.items()
    }
    return {name: _media(value) if _is_media(task_type, name) else value for name, value in read.items()}


def _is_media(task_type: TaskType, name: str) -> bool:
    return f"/{name}" in task_type.media_fields or f"/{name}/*" in task_type.media_fields


def _media(value: Any) -> Any:
    """Return a media field's value with each text that is a file here as a Path, which is uploaded."""
    if isinstance(value, list):
        return [_media(one) for one in value]
    return Path(value) if isinstance(value, str) and is_file_here(value) else value


def _value(name: str, value: Any, schema: Json, root: Json) -> Any:
    kind = schema.get("type")
    if kind == "boolean":
        return value
    if kind == "array":
        return _items(name, value, resolved(schema.get("items", {}), root), root)
    try:
        if kind == "integer":
            return int(value)
        if kind == "number":
            return float(value)
        if kind == "string":
            return _local(name, value)
        return orjson.loads(value)
    except ValueError:
        if kind in ("integer", "number", "object"):
            raise UsageError(f"--{name}: {value!r} is no {kind}") from None
        return _local(name, value)


def _items(name: str, values: Sequence[str], schema: Json, root: Json) -> list[Any]:
    """Read a list: one JSON array, or the option repeated."""
    if len(values) == 1 and values[0].lstrip().startswith("["):
        try:
            whole = orjson.loads(values[0])
        except ValueError:
            raise UsageError(f"--{name}: {values[0]!r} is no JSON array") from None
        if isinstance(whole, list):
            return whole
    return [_value(name, value, schema, root) for value in values]


def _local(name: str, value: str) -> str | Path:
    """Return a local file as a Path, which is uploaded: what `@` begins, or a path field's value that exists here."""
    if value.startswith("@"):
        return Path(value[1:])
    if name.endswith(_PATH_ENDINGS) and is_file_here(value):
        return Path(value)
    return value


def print_help(task_type: TaskType, command: str = RUN) -> None:
    """Write what a task does and its fields."""
    sys.stdout.write(parser_of(task_type, command).format_help())  # its own writer tells no full disk
