"""Runs tasks as a client elsewhere does: `python -m tests.images.task URL FILM FOLDER [PICTURE]`, with the key in the environment.

The sound is taken out of the film; where there is a picture, PaddleOCR reads it.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from stack.node_table import read_node_table
from yivideo_client import Client


def main(url: str, film: str, folder: str, picture: str = "") -> None:
    """Print what came of it as JSON."""
    with Client(url) as client:
        nodes = _nodes_in_sight(client)
        task = client.run(
            "ffmpeg.extract_audio",
            {"video_path": Path(film), "sample_rate": 16_000},
            download_to=folder,
            timeout_seconds=120,
        )
        read = _read(client, Path(picture)) if picture else {}
    files = [file.path for file in task.files]
    print(json.dumps({"nodes": sorted(nodes), "state": task.state, "files": files, **read}))


def _read(client: Client, picture: Path) -> dict[str, object]:
    """Have PaddleOCR read a picture; gives by what it was read, and how many lines there are."""
    given = {"images": [picture], "engine": "paddleocr", "language": "en", "conf_threshold": 0.0}
    task = client.run("paddleocr.read_images", given, timeout_seconds=300)
    output = task.output or {}
    lines = [line for one in output.get("images", ()) for line in one["lines"]]
    return {
        "read": task.state,
        "engine": output.get("engine"),
        "lines": len(lines),
        "error": str(task.error or ""),
    }


def _nodes_in_sight(client: Client) -> set[str]:
    """The first parts of all task names, as soon as there are all that nodes.toml has, else after half a minute."""
    wanted = {row.task_prefix for row in read_node_table()}
    until = time.monotonic() + 30
    while True:
        found = {kind.name.partition(".")[0] for kind in client.tasks.types()}
        if wanted <= found or time.monotonic() > until:
            return found
        time.sleep(0.5)


if __name__ == "__main__":
    main(*sys.argv[1:])
