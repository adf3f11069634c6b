"""`make settings`: writes docs/settings.md, every setting of every process, out of the settings classes; a test holds it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from filestore.settings import FilestoreSettings
from gateway.settings import GatewaySettings
from gpulock.settings import GpulockSettings
from language_models.settings import LlmSettings
from nodekit.settings import NodeSettings
from runtime.settings import ProcessSettings
from runtime.settings_outline import item_model, model_of
from scheduler.settings import SchedulerSettings
from services.asr.settings import AsrSettings
from services.diarize.settings import DiarizeSettings
from services.ffmpeg.settings import FfmpegSettings
from services.ocr.settings import OcrSettings
from services.separate.settings import SeparateSettings
from services.tts.settings import TtsSettings
from stack.settings import StackSettings

PAGE = Path(__file__).resolve().parent.parent / "docs" / "settings.md"

PROCESSES: tuple[tuple[str, tuple[type[ProcessSettings], ...]], ...] = (
    ("the stack, `make run`", (StackSettings,)),
    ("the gateway", (GatewaySettings,)),
    ("a scheduler", (SchedulerSettings,)),
    ("the filestore", (FilestoreSettings,)),
    ("the lock service", (GpulockSettings,)),
    ("every node", (NodeSettings,)),
    ("the asr node", (NodeSettings, AsrSettings)),
    ("the diarize node", (NodeSettings, DiarizeSettings)),
    ("the ffmpeg node", (NodeSettings, FfmpegSettings)),
    ("the llm and subtitle nodes", (NodeSettings, LlmSettings)),
    ("the ocr node", (NodeSettings, OcrSettings)),
    ("the separate node", (NodeSettings, SeparateSettings)),
    ("the tts node", (NodeSettings, TtsSettings)),
)

_HEAD = """\
# Settings

Made by `make settings` out of the settings classes; edit those, not this page.

A setting comes from the environment, else from the YAML file that `YIVIDEO_CONFIG` names, else it has its default. In the file
`scheduler: {limits: {max_running: 4}}`; in the environment the same is `YIVIDEO_SCHEDULER__LIMITS__MAX_RUNNING=4`: section and
names in capitals, two underscores between them. A list, or a whole section, is JSON in a variable:
`YIVIDEO_GATEWAY__CORS_ORIGINS='["https://app.example"]'`. A variable for one name goes before the JSON of its section.

One file may serve all processes: each reads its own sections. A name that nobody knows, a section included, ends the process with
the nearest name that there is. Sections of nodes of your own are named in `YIVIDEO_SECTIONS`, blanks between; a section of the file
that begins with `x-` is left alone. `make run` checks the settings of all parts before it starts any, and refuses one that it makes
itself for its parts (addresses, the token, folders). Not settings, but read too: `YIVIDEO_MODELS` and its kin
([the model store](../nodekit/README.md)).

| process | sections |
|---|---|
"""


def sections() -> dict[str, type[BaseModel]]:
    """Return every section's model by its name, in the order of the page."""
    found: dict[str, type[BaseModel]] = {}
    for _, kinds in PROCESSES:
        for kind in kinds:
            for name, field in kind.model_fields.items():
                model = model_of(field.annotation)
                assert model is not None
                found.setdefault(name, model)
    return found


def page() -> str:
    """Return the whole page."""
    lines = [_HEAD.rstrip()]
    for process, kinds in PROCESSES:
        names = dict.fromkeys(name for kind in kinds for name in kind.model_fields)
        lines.append(f"| {process} | {', '.join(f'[`{name}`](#{name})' for name in names)} |")
    for name, model in sections().items():
        lines += ["", f"## {name}", "", _sentence(model.__doc__), ""]
        lines += ["| setting | type | range | default | effect |", "|---|---|---|---|---|"]
        lines += _rows(model, "")
    return "\n".join(lines) + "\n"


def _rows(model: type[BaseModel], above: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        inner = model_of(field.annotation)
        if inner is not None:
            yield from _rows(inner, f"{above}{name}.")
            continue
        effect = _sentence(field.description)
        default = _default(field)
        yield f"| `{above}{name}` | {_type(field.annotation)} | {_range(field)} | {default} | {effect} |"
        item = item_model(field.annotation)
        if item is not None:
            yield from _rows(item, f"{above}{name}[].")


def _sentence(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")


_WORDS: dict[Any, str] = {
    int: "integer",
    float: "number",
    bool: "true or false",
    str: "text",
    Path: "path",
    SecretStr: "secret",
    NoneType: "none",
}


def _type(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return "one of " + ", ".join(f"`{value}`" for value in arguments)
    if origin in (Union, UnionType):
        return " or ".join(_type(arm) for arm in arguments if arm is not NoneType)
    if origin in (tuple, list, frozenset, set):
        return f"list of {_type(arguments[0])}"
    if origin is dict:
        return f"mapping of {_type(arguments[0])} to {_type(arguments[1])}"
    if hasattr(annotation, "__metadata__"):
        return _type(annotation.__origin__)
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return "one of " + ", ".join(f"`{value.value}`" for value in annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "mapping, see below"
    return _WORDS.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _range(field: FieldInfo) -> str:
    bounds: dict[str, Any] = {}
    for rule in field.metadata:
        for bound in ("ge", "gt", "le", "lt", "max_length", "min_length", "pattern"):
            if getattr(rule, bound, None) is not None:
                bounds[bound] = getattr(rule, bound)
    words = []
    if "ge" in bounds and "le" in bounds:
        words.append(f"{bounds['ge']:,} to {bounds['le']:,}")
    else:
        words += [
            f"{sign} {bounds[name]:,}"
            for name, sign in (
                ("ge", "at least"),
                ("gt", "more than"),
                ("le", "at most"),
                ("lt", "less than"),
            )
            if name in bounds
        ]
    if "gt" in bounds and "le" in bounds:
        words = [f"more than {bounds['gt']:,}, at most {bounds['le']:,}"]
    if "max_length" in bounds:
        words.append(f"at most {bounds['max_length']} long")
    if "pattern" in bounds:
        words.append("`" + str(bounds["pattern"]).replace("|", "\\|") + "`")
    return ", ".join(words)


def _default(field: FieldInfo) -> str:
    if field.default_factory is not None:
        return "empty"
    value = field.default
    if value is PydanticUndefined:
        return "must be given"
    if isinstance(value, Path) and value.is_absolute() and value.name == "nodes.toml":
        return "`services/nodes.toml`"
    if value is None or value in ("", ()) or value == frozenset():
        return "none"
    if isinstance(value, SecretStr):
        return f"`{value.get_secret_value()}`" if value.get_secret_value() else "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple | frozenset):
        return ", ".join(
            f"`{_plain(item)}`" for item in (value if isinstance(value, tuple) else sorted(value))
        )
    return f"`{_plain(value)}`"


def _plain(value: Any) -> str:
    return str(value.value if isinstance(value, Enum) else value)


def main(arguments: Sequence[str]) -> int:
    """Write the page, or with `--check` say whether it is as it should be."""
    text = page()
    if arguments == ["--check"]:
        return 0 if PAGE.read_text(encoding="utf-8") == text else 1
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
