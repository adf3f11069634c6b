"""Runs one task of a node and prints what came of it as JSON: `python -m tests.engines.run_task MODULE FOLDER TASK INPUT`.

For an engine's own environment, which has neither pytest nor what the other nodes need.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from pathlib import Path

from nodekit.testkit import NodeUnderTest


async def main(module: str, folder: Path, task: str, task_input: dict[str, object]) -> None:
    """Run the task twice: the second time the engine is warm."""
    node = importlib.import_module(module).node
    async with NodeUnderTest(node, folder, threads=2) as under_test:
        results = [
            await under_test.run(task, task_input, task_id=f"run-{number}", wait_seconds=400)
            for number in (1, 2)
        ]
    for result in results:
        print(
            json.dumps(
                {
                    "outcome": result.outcome,
                    "code": result.error.code,
                    "message": result.error.message,
                    **result.output,
                }
            )
        )


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], json.loads(sys.argv[4])))
