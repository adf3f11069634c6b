"""Runs one task as a client elsewhere does: `python -m tests.images.task URL FILM FOLDER`, with the key in the environment."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from stack.node_table import read_node_table
from yivideo_client import Client


def main(url: str, film: str, folder: str) -> None:
    """Print what came of it as JSON."""
    with Client(url) as client:
        nodes = _nodes_in_sight(client)
        task = client.run(
            "ffmpeg.extract_audio",
            {"video_path": Path(film), "sample_rate": 16_000},
            download_to=folder,
            timeout_seconds=120,
        )
    print(
        json.dumps({"nodes": sorted(nodes), "state": task.state, "files": [file.path for file in task.files]})
    )


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
