"""Films with burned-in text, and a replica of the node that reads them."""

from __future__ import annotations

import subprocess
from pathlib import Path

FONT_SIZE = 26
SOURCE = "gradients=s=480x270:r=25:speed=0.02:seed=5"


def drawn(text: str, first: int, last: int, *, x: str = "(w-tw)/2", y: str = "220") -> str:
    """A filter that shows a text from its first frame up to (not with) its last one."""
    look = f"fontsize={FONT_SIZE}:fontcolor=white:borderw=3"
    return f"drawtext=text='{text}':{look}:x={x}:y={y}:enable='between(n,{first},{last - 1})'"


def encoded(path: Path, graph: list[str], frames: int, *more: str, source: str = SOURCE) -> Path:
    """A film of so many frames out of filters."""
    written = [
        "-frames:v",
        str(frames),
        "-fps_mode",
        "passthrough",
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
    ]
    argv = [
        "ffmpeg",
        "-v",
        "error",
        "-y",
        "-f",
        "lavfi",
        "-i",
        source,
        "-vf",
        ",".join([*graph, "format=yuv420p"]),
    ]
    subprocess.run([*argv, *written, *more, str(path)], check=True, timeout=60)
    return path


def burned(path: Path, cues: list[tuple[int, int, str]], *, frames: int = 50, varying: bool = False) -> Path:
    """A film of 25 frames a second, 480 × 270, that shows each text from its first frame up to (not with) its last one."""
    graph = [drawn(text, first, last) for first, last, text in cues]
    return encoded(path, [*graph, *(["select='not(eq(mod(n,3),1))'"] if varying else [])], frames)
