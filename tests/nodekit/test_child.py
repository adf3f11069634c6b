"""Laws of child processes: no pipe fills up, no output is lost, nothing goes on after the call."""

from __future__ import annotations

import asyncio
import hashlib
import time
import uuid
from pathlib import Path

import pytest

from nodekit.failure import TaskFailed
from nodekit.process.child import ChildFailed, Family
from runtime.errors import DeadlineExceeded
from tests.nodekit.conftest import LOOPS, NodeFactory, processes_with


@pytest.fixture(params=LOOPS)
def event_loop_policy(request: pytest.FixtureRequest) -> asyncio.AbstractEventLoopPolicy:
    return LOOPS[request.param]()


@pytest.fixture
def family() -> Family:
    return Family(f"test-{uuid.uuid4().hex}/", grace_seconds=0.3)


async def test_full_pipes_do_not_block(family: Family) -> None:
    """A child that floods both outputs ends, and the tail of its error output is what is kept."""
    lines: list[str] = []
    script = "yes error | head -c 3000000 >&2; yes out | head -n 200000; echo last >&2"
    done = await family.run(["sh", "-c", script], on_line=lines.append, timeout_seconds=20)
    assert (done.returncode, len(lines)) == (0, 200_000)
    assert done.stderr_tail.endswith("last\n")
    assert len(done.stderr_tail) <= 16 * 1024


async def test_lines_are_split_and_bounded(family: Family) -> None:
    """Carriage returns end lines too, the last line needs no end, and a line without end comes in pieces."""
    lines: list[str] = []
    await family.run(["printf", "a\\rb\\n\\nc"], on_line=lines.append)
    assert lines == ["a", "b", "c"]
    lines.clear()
    await family.run(["sh", "-c", "head -c 300000 /dev/zero | tr '\\0' x"], on_line=lines.append)
    assert len(lines) > 1
    assert "".join(lines) == "x" * 300_000


async def test_stdin_is_empty_or_what_was_given(family: Family) -> None:
    """Without a body standard input is at its end; with one the child reads exactly it, or not at all."""
    assert (await family.run(["cat"], timeout_seconds=5)).returncode == 0
    lines: list[str] = []
    await family.run(["sha256sum"], stdin=b"x" * 1_000_000, on_line=lines.append)
    assert lines[0].split()[0] == hashlib.sha256(b"x" * 1_000_000).hexdigest()
    assert (await family.run(["true"], stdin=b"x" * 1_000_000)).returncode == 0


async def test_timeout_ends_the_tree(family: Family) -> None:
    """A run past its timeout ends with DEADLINE_EXCEEDED and leaves nothing."""
    number = uuid.uuid4().int % 10**8
    with pytest.raises(DeadlineExceeded):
        await family.run(["sh", "-c", f"sleep 68{number} & sleep 68{number}"], timeout_seconds=0.2)
    assert processes_with(f"68{number}") == []


async def test_exception_of_the_callback_ends_the_child(family: Family) -> None:
    """When `on_line` raises, the child is ended and the exception is the caller's."""
    number = uuid.uuid4().int % 10**8

    def refuse(line: str) -> None:
        raise TaskFailed("NOT_THIS", line)

    with pytest.raises(TaskFailed, match="hello"):
        await family.run(["sh", "-c", f"echo hello; sleep 69{number}; :"], on_line=refuse, timeout_seconds=10)
    assert processes_with(f"69{number}") == []


async def test_missing_program_is_named(family: Family) -> None:
    """A program that is not installed gives TOOL_MISSING."""
    with pytest.raises(TaskFailed, match="no-such-tool") as failed:
        await family.run(["no-such-tool"])
    assert failed.value.code == "TOOL_MISSING"


async def test_return_code_and_signal(family: Family) -> None:
    """The return code is the program's; a signal is negative."""
    assert (await family.run(["sh", "-c", "exit 7"])).returncode == 7
    assert (await family.run(["sh", "-c", "kill -9 $$"])).returncode == -9


async def test_working_folder(family: Family, tmp_path: Path) -> None:
    """A child runs where it was told to."""
    await family.run(["sh", "-c", "pwd > here"], cwd=tmp_path)
    assert (tmp_path / "here").read_text().strip() == str(tmp_path)


async def test_pipe_gives_all_bytes(start_node: NodeFactory) -> None:
    """A piped child's output arrives whole, and its failure after the last byte is not taken for success."""
    node = await start_node()
    whole = await node.run("toy.piped", {"script": "head -c 5000000 /dev/zero"})
    assert whole.output["lines"] == ["5000000"]
    broken = await node.run("toy.piped", {"script": "head -c 1000 /dev/zero; echo reason >&2; exit 4"})
    assert (broken.outcome, broken.error.code) == ("failed", "CHILD_FAILED")
    assert "reason" in broken.error.message
    judged = await node.run("toy.piped", {"script": "head -c 1000 /dev/zero; exit 4", "kind": "judge"})
    assert judged.output["returncode"] == 4


async def test_pipe_can_be_left_early(start_node: NodeFactory) -> None:
    """Leaving a pipe before its end ends the child, also one that is blocked writing."""
    node = await start_node()
    number = uuid.uuid4().int % 10**8
    script = f": 70{number}; while :; do head -c 1000000 /dev/zero; done"
    result = await node.run("toy.piped", {"script": script, "kind": "first"}, wait_seconds=10)
    assert result.outcome == "completed"
    assert processes_with(f"70{number}") == []


async def test_asking_before_reading_does_not_hang(family: Family) -> None:
    """How a child ended can be asked while its output is still unread."""
    async with asyncio.timeout(10):
        async with family.pipe(["sh", "-c", "head -c 60000 /dev/zero; exit 5"]) as output:
            assert (await output.completed()).returncode == 5
            assert len(await output.read()) == 60000


async def test_children_run_side_by_side(family: Family) -> None:
    """The end of one child of an attempt does not end another."""
    before = time.monotonic()
    slow, quick = await asyncio.gather(
        family.run(["sh", "-c", "sleep 0.5; exit 1"]), family.run(["sh", "-c", "exit 2"])
    )
    assert (slow.returncode, quick.returncode) == (1, 2)
    assert time.monotonic() - before >= 0.5


async def test_a_familys_end_finds_whom_nobody_has_waited_for(family: Family) -> None:
    """A child counts from before its start until all of its tree is known to be gone; a family's end looks for who counts."""
    await family.run(["sh", "-c", "sleep 60 & true"])
    assert family.living == 0
    child = await family.start(["sleep", "60"])
    assert family.living == 1
    await family.end()
    assert await child.program.wait() != 0
    child.program.close()


def test_child_failed_says_the_last_line() -> None:
    """The error of a failed pipe ends with what the program said last."""
    from nodekit.process.child_output import Completed

    assert str(ChildFailed("ffmpeg", Completed(1, "a\nb\nno such file\n"))).endswith("no such file")
