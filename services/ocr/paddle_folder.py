"""A model folder of PaddleOCR 3 as a user brings it: `inference.yml` says what it is, `inference.json` and `.pdiparams` compute.

Read before PaddleOCR sees it: what that makes of a wrong folder is an assertion, or a question to the network.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import yaml

from services.ocr.faults import FaultCode, OcrFault

NAME = "paddleocr"
"""The engine."""
Kind = Literal["detector", "recogniser"]
_ENDS: dict[str, Kind] = {"DBPostProcess": "detector", "CTCLabelDecode": "recogniser"}
"""By what is done with the network's answer."""
_NAMES = {"detector": ("_det",), "recogniser": ("_rec", "_rec_doc")}
"""How PaddleOCR's names of its models end, by which it knows what to do with them."""
_GRAPHS = ("inference.json", "inference.pdmodel")
"""The network, as Paddle 3 writes it and as Paddle 2 did."""
_MAX_BYTES = 16 * 1024 * 1024
"""Of `inference.yml`; those of 20,000 signs have 0.2 MB."""

_MOST_DEPTH = 32
"""Lists and mappings in each other; published ones have six."""


@dataclass(frozen=True)
class PaddleFolder:
    """A folder that has been looked at."""

    path: Path
    name: str
    """PaddleOCR's name of the model, such as `PP-OCRv5_server_det`."""


@dataclass(frozen=True)
class PaddlePlace:
    """Which models to load, and where."""

    detector: PaddleFolder
    recogniser: PaddleFolder
    device: str = "cpu"
    """auto, cpu or cuda."""
    threads: int = 1
    """Cores, on the processor."""
    batch_size: int = 8
    limit_side: int = 3072
    onednn: bool = False


def read_folder(path: Path, kind: Kind, setting: str) -> PaddleFolder:
    """Look at a folder that a setting names.

    Raises OcrFault, whose message begins with the setting: MODEL_MISSING where a file is not there, MODEL_UNSUITABLE where one
    says something else than a model of this kind.
    """
    if not path.is_dir():
        raise OcrFault(FaultCode.MODEL_MISSING, f"{setting}: {path} is no folder")
    lacking = [name for name in ("inference.yml", "inference.pdiparams") if not _has(path / name)]
    if not any(_has(path / name) for name in _GRAPHS):
        lacking.append(_GRAPHS[0])
    if lacking:
        raise OcrFault(FaultCode.MODEL_MISSING, f"{setting}: {path} has no {', no '.join(lacking)}")
    description = path / "inference.yml"
    try:
        name, end, has_signs = _facts(description, description.stat().st_mtime_ns)
    except _Undescribed as error:
        raise _unsuitable(setting, path, f"its inference.yml {error}") from None
    found = _ENDS.get(end)
    if found != kind:
        what = f"a {found}" if found else "neither detector nor recogniser of text"
        raise _unsuitable(setting, path, f"{name or 'it'} is {what}, and a {kind} is needed")
    if not name.endswith(_NAMES[kind]):
        raise _unsuitable(
            setting, path, f"its inference.yml names no {kind} in Global.model_name, but {name!r}"
        )
    if kind == "recogniser" and not has_signs:
        raise _unsuitable(setting, path, "its inference.yml has no list PostProcess.character_dict")
    return PaddleFolder(path, name)


def _has(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


class _Undescribed(Exception):
    """What is wrong with an inference.yml."""


@lru_cache(16)
def _facts(path: Path, changed: int) -> tuple[str, str, bool]:
    """Return the model's name, how its answers are worked on, and whether it lists signs; 18,000 of them take a while to read."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise _Undescribed("is too large for one")
        text = path.read_bytes()
        _check_depth(text)
        described = yaml.load(text, Loader=_Reader)  # noqa: S506 - a safe one
    except (OSError, yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise _Undescribed(f"cannot be read: {str(error).splitlines()[0]}") from None
    if not isinstance(described, dict):
        raise _Undescribed("describes no model")
    end = _part(described, "PostProcess")
    name = str(_part(described, "Global").get("model_name") or "")
    return name, str(end.get("name")), isinstance(end.get("character_dict"), list)


def _check_depth(text: bytes) -> None:
    """Refuse what is nested so deeply that the reader in C would fall over it."""
    depth = 0
    for event in yaml.parse(text, Loader=_Reader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MOST_DEPTH:
            raise _Undescribed("cannot be read: it is nested too deeply")


_Reader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _part(described: dict[str, Any], name: str) -> dict[str, Any]:
    part = described.get(name)
    return part if isinstance(part, dict) else {}


def _unsuitable(setting: str, path: Path, why: str) -> OcrFault:
    return OcrFault(FaultCode.MODEL_UNSUITABLE, f"{setting}: {path}: {why}")
