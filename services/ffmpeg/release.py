"""Which ffmpeg this machine has."""

from __future__ import annotations

import re
import shutil
import subprocess

_VERSION = re.compile(r"^ffmpeg version (\S+)")
_SECONDS = 10


def ffmpeg_release() -> list[str]:
    """Return `ffmpeg/<version>`, or nothing where ffmpeg is not installed."""
    if shutil.which("ffmpeg") is None:
        return []
    shown = subprocess.run(
        ["ffmpeg", "-version"], capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    match = _VERSION.match(shown.stdout)
    return [f"ffmpeg/{match[1]}"] if match else []
