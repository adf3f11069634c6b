"""Laws of failure: every way in which a task function can fail has one clear error, and none shows what it must not."""

from __future__ import annotations

import pytest

from tests.nodekit.conftest import NodeFactory


@pytest.mark.parametrize(
    ("how", "code", "retryable", "text"),
    [
        ("task_failed", "MEDIA_UNREADABLE", True, "xxx"),
        ("bug", "INTERNAL", False, "request id"),
        ("disk_full", "DISK_FULL", True, "disk"),
        ("not_found", "FILE_NOT_FOUND", False, "a/b"),
        ("worker_raises", "WORKER_SAYS_NO", True, "not today"),
        ("worker_dies", "WORKER_DIED", True, "signal 9"),
        ("fault", "TOY_BROKEN", True, "spring"),
        ("wrong_type", "INTERNAL", False, "request id"),
        ("large", "OUTPUT_TOO_LARGE", False, "1 MiB"),
    ],
)
async def test_failure_has_a_code(
    start_node: NodeFactory, how: str, code: str, retryable: bool, text: str
) -> None:
    """A failure carries a stable code, says whether a retry may help, and hides the text of bugs."""
    node = await start_node()
    result = await node.run("toy.fail", {"how": how})
    assert (result.outcome, result.error.code, result.error.retryable) == ("failed", code, retryable)
    assert text in result.error.message
    assert "secret detail" not in result.error.message
    assert len(result.error.message.encode()) <= 2000
    assert result.events[-1].failed.duration_seconds > 0


async def test_failure_names_the_field(start_node: NodeFactory) -> None:
    """The input field at fault travels with the error, out of a worker process too."""
    node = await start_node()
    for how in ("task_failed", "fault"):
        assert (await node.run("toy.fail", {"how": how})).error.field == "/how"


async def test_a_dead_worker_harms_nobody_else(start_node: NodeFactory) -> None:
    """After a worker has died the next call gets a fresh one."""
    node = await start_node()
    await node.run("toy.fail", {"how": "worker_dies"})
    assert (await node.run("toy.fail", {"how": "worker_raises"})).error.code == "WORKER_SAYS_NO"


async def test_skipped_is_told(start_node: NodeFactory) -> None:
    """A task that was told not to act ends well and says that it did not."""
    node = await start_node()
    result = await node.run("toy.fail", {"how": "skip"})
    assert result.events[-1].completed.skipped
