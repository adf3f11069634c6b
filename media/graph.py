"""The locked file as the input of an ffmpeg graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ffmpeg

from media.source import LOCKS, address


def open_source(path: Path, **options: Any) -> Any:
    """Return the file as ffmpeg-python's input node; `options` are ffmpeg's input options."""
    return ffmpeg.input(address(path), **LOCKS, **options)
