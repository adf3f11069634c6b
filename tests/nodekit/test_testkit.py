"""The test kit as a node author uses it: a node, its test, and nothing else."""

from __future__ import annotations

import asyncio
from pathlib import Path

import nodekit
from nodekit import MediaRef, Node, TaskContext, TaskInput, TaskOutput
from nodekit.testkit import NodeUnderTest

node = Node("letters")


class CountInput(TaskInput):
    """What to count in."""

    text_path: MediaRef
    """The text."""


class CountOutput(TaskOutput):
    count: int
    """Number of letters."""
    copy_path: MediaRef
    """The text in capitals."""


@node.task("letters.count")
async def count(request: CountInput, context: TaskContext) -> CountOutput:
    """Counts letters."""
    text = (await context.fetch(request.text_path)).read_text()
    for place in range(len(text)):
        await context.progress(100 * place / len(text), "count")
    await context.log("counted")
    copy = context.output_path("copy.txt")
    copy.write_text(text.upper())
    return CountOutput(count=len(text), copy_path=await context.store(copy))


async def test_a_node_in_a_few_lines(tmp_path: Path) -> None:
    """A test sees the output, the stored files, the events, the progress and the log of a real run."""
    (tmp_path / "a.txt").write_text("hello")
    async with NodeUnderTest(node, tmp_path) as under_test:
        result = await under_test.run("letters.count", {"text_path": str(tmp_path / "a.txt")})
    assert result.outcome == "completed"
    assert result.output["count"] == 5
    assert result.file("copy_path").read_text() == "HELLO"
    assert result.logs() == ["counted"]
    assert result.percents() == sorted(result.percents())
    assert result.percents()[-1] == 80
    assert [event.sequence for event in result.events] == list(range(1, len(result.events) + 1))


async def test_events_can_be_acted_upon(tmp_path: Path) -> None:
    """A test can watch a running task and cancel it."""
    waiting = Node("waiting")

    @waiting.task("waiting.wait")
    async def wait(request: CountInput, context: TaskContext) -> CountOutput:
        """Waits."""
        await context.log("here")
        await asyncio.sleep(600)
        raise AssertionError("unreachable")

    async with NodeUnderTest(waiting, tmp_path) as under_test:
        here = asyncio.Event()
        running = asyncio.create_task(
            under_test.run(
                "waiting.wait",
                {"text_path": "x"},
                task_id="t1",
                on_event=lambda event: here.set() if event.HasField("log") else None,
            )
        )
        await here.wait()
        await under_test.cancel("t1", reason="seen enough")
        result = await running
    assert (result.outcome, result.events[-1].cancelled.reason) == ("cancelled", "seen enough")


def test_public_surface() -> None:
    """What a node author may import; a change here is a change for every node."""
    assert sorted(nodekit.__all__) == [
        "ChildFailed",
        "ChildOutput",
        "Completed",
        "FolderRef",
        "GpuLease",
        "MediaKind",
        "MediaRef",
        "Node",
        "TaskContext",
        "TaskFailed",
        "TaskInput",
        "TaskOutput",
        "WarmModel",
        "examples",
        "serve",
        "through_deaths",
    ]
    assert all(hasattr(nodekit, name) for name in nodekit.__all__)
