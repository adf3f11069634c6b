"""Runs one task on a node whose scratch disk is too small: `python -m tests.services.full_disk MODULE DISK TASK INPUT`.

For `test_bad_inputs.py`, inside a mount namespace of its own. Prints what became of it as JSON.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from pathlib import Path

from nodekit.testkit import NodeUnderTest


async def main(module: str, disk: Path, task: str, task_input: dict[str, str]) -> None:
    """Run the task, and look at what is left on the disk."""
    node = importlib.import_module(module).node
    files = disk.parent / "files"
    async with NodeUnderTest(node, files, work_root=disk, allowed_roots=(disk.parent,)) as under_test:
        result = await under_test.run(task, task_input)
        left = sum(path.stat().st_size for path in disk.rglob("*") if path.is_file())
    error = result.error
    print(json.dumps([result.outcome, error.code, error.retryable, error.field, left]))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], json.loads(sys.argv[4])))
