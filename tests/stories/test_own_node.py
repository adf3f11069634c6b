"""A node of one's own in the embedded stack: `stack.nodes` names its module, and its tasks run like any other."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest

from tests.stories.conftest import running_stack


@pytest.mark.slow
async def test_a_node_of_ones_own_runs_in_the_stack(tmp_path: Path) -> None:
    """The stack starts it, tells the scheduler where it is, and waits until its tasks are known."""
    own = {"name": "toy", "module": "bench.tasks.toy", "slots": 2}
    with running_stack(tmp_path / "run", nodes=[own]) as stack:
        assert stack.card["nodes"]["toy"] and stack.pid("toy")
        async with aiohttp.ClientSession(stack.url) as http:
            body = {"task_name": "toy.noop", "input_data": {}}
            async with http.post("/v1/tasks", json=body, headers={"Prefer": "wait=20"}) as response:
                assert response.status == 200, await response.text()
                assert (await response.json())["state"] == "completed"
