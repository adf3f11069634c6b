"""Runs one task as a client elsewhere does: `python -m tests.images.task URL FILM FOLDER`, with the key in the environment."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from yivideo_client import Client


def main(url: str, film: str, folder: str) -> None:
    """Print what came of it as JSON."""
    with Client(url) as client:
        task = client.run(
            "ffmpeg.extract_audio",
            {"video_path": Path(film), "sample_rate": 16_000},
            download_to=folder,
            timeout_seconds=120,
        )
    print(
        json.dumps({"state": task.state, "output": task.output, "files": [file.path for file in task.files]})
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
