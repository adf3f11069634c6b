"""What the toy node runs in worker processes. It imports nodekit only to fail, as an engine may: so its processes start fast."""

from __future__ import annotations

import os
import time
from pathlib import Path


def look(folder: str) -> list[str]:
    """Tell what a worker process sees, and who it is."""
    with Path(folder, "journal").open("a") as journal:
        journal.write(f"worker {os.getpid()}\n")
    return [os.environ["CUDA_VISIBLE_DEVICES"], os.environ["YIVIDEO_GPU_MEMORY_MIB"], str(os.getpid())]


def load(folder: str, key: str) -> dict[str, str]:
    """Load a model of a few bytes."""
    with Path(folder, "journal").open("a") as journal:
        journal.write(f"load {key} {os.getpid()}\n")
    if key == "broken":
        from nodekit import TaskFailed

        raise TaskFailed("MODEL_BROKEN", "no such model")
    return {"key": key, "pid": str(os.getpid())}


def use(model: dict[str, str], folder: str, how: str, wait: str) -> list[str]:
    """Use the model."""
    with Path(folder, "journal").open("a") as journal:
        journal.write(f"use {model['key']} {os.getpid()}\n")
    while wait and not Path(folder, wait).exists():
        time.sleep(0.01)
    if how == "raise":
        from nodekit import TaskFailed

        raise TaskFailed("BAD_FRAME", "no")
    if how == "die":
        os._exit(3)
    return [model["key"], model["pid"], os.environ["CUDA_VISIBLE_DEVICES"]]
