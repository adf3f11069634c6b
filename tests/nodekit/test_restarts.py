"""Work whose process dies goes on where it was, as often as its author has said."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from nodekit import Node, TaskContext, TaskInput, TaskOutput, through_deaths
from nodekit.testkit import NodeUnderTest
from tests.nodekit import worker_calls

node = Node("counting")


class CountInput(TaskInput):
    """How far to count, and how often to die."""

    deaths: int
    survived: int


class CountOutput(TaskOutput):
    """What was counted."""

    by_the_last: int
    numbers: list[int]


@node.task("counting.count")
async def count(request: CountInput, context: TaskContext) -> CountOutput:
    """Counts to six in processes that die."""
    path = context.output_path("numbers")
    work = partial(context.call, worker_calls.count_until, str(path), 6, request.deaths)
    counted = await through_deaths(context, work, deaths=request.survived)
    return CountOutput(by_the_last=counted, numbers=list(path.read_bytes()))


@pytest.mark.parametrize(("deaths", "survived"), [(0, 1), (1, 1), (2, 2), (2, 1), (1, 0)])
async def test_work_goes_on_through_so_many_deaths(tmp_path: Path, deaths: int, survived: int) -> None:
    """Nothing is done twice and nothing left out; each death is told; one more than allowed fails so that it may be retried."""
    async with NodeUnderTest(node, tmp_path) as under_test:
        result = await under_test.run("counting.count", {"deaths": deaths, "survived": survived})
    assert sum("goes on where it stopped" in line for line in result.logs()) == min(deaths, survived)
    if deaths > survived:
        assert (result.error.code, result.error.retryable) == ("WORKER_DIED", True)
    else:
        assert result.outcome == "completed", result.error
        assert result.output["numbers"] == [0, 1, 2, 3, 4, 5]
        assert result.output["by_the_last"] == (6 if deaths == 0 else 5 - deaths)
