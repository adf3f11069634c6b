"""Child processes of an attempt: started in a session of their own, drained, bounded in time, and ended as a whole tree.

A child dies with the node in two ways: the kernel kills it when the node's process ends (PR_SET_PDEATHSIG, set by setpriv, so
that no Python runs between fork and exec), and the reaper kills what the child has started (see `nodekit.process.process_tree`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from nodekit.failure import TaskFailed
from nodekit.metrics import CHILDREN
from nodekit.process.child_output import ChildOutput, Completed, Tail, read_lines
from nodekit.process.process_tree import MARK_VARIABLE, Ending, members
from runtime import spans
from runtime.errors import DeadlineExceeded
from runtime.logs import get_logger
from runtime.program import Program, dying_with_us

log = get_logger(__name__)

Argument = str | os.PathLike[str]

_SECRET_PREFIXES = ("YIVIDEO_", "MINIO_", "AWS_")
_COMPLAINT_SECONDS = 10.0


class ChildFailed(TaskFailed):
    """A piped child ended with a code other than 0 after its output was read to the end; `completed` has the reason."""

    def __init__(self, program: str, completed: Completed) -> None:
        last = completed.stderr_tail.strip().rpartition("\n")[2]
        super().__init__("CHILD_FAILED", f"{program} ended with code {completed.returncode}: {last}")
        self.completed = completed


def _inherited() -> dict[str, str]:
    """Return our environment without what configures YiVideo: a decoder has no use for the internal token."""
    return {key: value for key, value in os.environ.items() if not key.startswith(_SECRET_PREFIXES)}


async def uninterrupted(work: Awaitable[None]) -> None:
    """Await work to its end even when the caller is cancelled meanwhile; the cancellation is raised afterwards."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
        except Exception:  # noqa: S112 - `result()` below raises it
            continue
    task.result()
    if cancelled is not None:
        raise cancelled


async def end_tree(prefix: str, sessions: Sequence[int], grace_seconds: float) -> None:
    """End a process tree and return when nothing of it is left, however long the kernel takes."""
    ending = Ending(grace_seconds)
    complained_seconds = 0.0
    while found := await asyncio.to_thread(members, prefix, sessions):
        if ending.overdue_seconds - complained_seconds > _COMPLAINT_SECONDS:
            complained_seconds = ending.overdue_seconds
            log.warning("processes do not die", pids=found, since_seconds=round(complained_seconds))
        await asyncio.sleep(ending.press(found))


class Child:
    """One program of a family; `async with child.living()` bounds its life."""

    def __init__(self, name: str, program: Program, mark: str, family: Family) -> None:
        self.name = name
        self.program = program
        self._mark = mark
        self._family = family
        self._stderr = Tail()
        self._gone = False

    @asynccontextmanager
    async def living(self) -> AsyncIterator[None]:
        """Drain standard error for the time of the block; leaving it ends the whole tree."""
        assert self.program.stderr is not None
        CHILDREN.inc()
        drain = asyncio.create_task(self._stderr.drain(self.program.stderr))
        try:
            yield
        finally:
            await uninterrupted(self._end(drain))

    async def _end(self, drain: asyncio.Task[None]) -> None:
        await self._end_tree()
        await drain
        await self.program.wait()
        self.program.close()
        CHILDREN.dec()

    async def _end_tree(self) -> None:
        if not self._gone:
            await end_tree(self._mark, (self.program.pid,), self._family.grace_seconds)
            if not self._gone:  # two may have waited for it
                self._gone = True
                self._family.living -= 1

    async def completed(self) -> Completed:
        """Wait for the program's end, end what it left running, and tell how it ended."""
        returncode = await self.program.wait()
        # A background process that holds standard error open would keep the drain waiting.
        await self._end_tree()
        await self._stderr.ended.wait()
        return Completed(returncode, self._stderr.text())

    async def write(self, *parts: bytes) -> None:
        """Write to standard input. Raises BrokenPipeError when the program does not read any more."""
        stdin = self.program.stdin
        assert stdin is not None
        try:
            for part in parts:
                stdin.write(part)
            await stdin.drain()
        except (ConnectionResetError, RuntimeError) as error:  # uvloop raises RuntimeError on a closed pipe
            raise BrokenPipeError from error

    async def feed(self, body: bytes) -> None:
        """Write to standard input and close it; a program that does not read it all is no error."""
        assert self.program.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            await self.write(body)
        with contextlib.suppress(RuntimeError):
            self.program.stdin.close()


@dataclass
class Family:
    """Starts the children of one attempt (or of one worker pool).

    `mark` is the prefix that every child's environment carries; `grace_seconds`, the time between SIGTERM and SIGKILL, may be
    changed while children run. `environment` is added to what every child gets.
    """

    mark: str
    grace_seconds: float = 5.0
    environment: Mapping[str, str] = field(default_factory=dict)
    _numbers: count[int] = field(default_factory=count)
    living: int = 0
    """Children that were started and are not known to be gone with all that they have started."""

    async def start(
        self, argv: Sequence[Argument], *, stdin: bool = False, stdout: bool = False, cwd: Path | None = None
    ) -> Child:
        """Start a program. Raises TaskFailed (TOOL_MISSING) when this machine does not have it."""
        command, *arguments = [os.fspath(part) for part in argv]
        name = Path(command).name
        found = shutil.which(command)
        if found is None:
            raise TaskFailed("TOOL_MISSING", f"the program {name} is not installed on this node")
        mark = f"{self.mark}{next(self._numbers)}/"
        self.living += 1
        program = await Program.start(
            [*dying_with_us("KILL"), found, *arguments],
            stdin=stdin,
            stdout=stdout,
            cwd=cwd,
            environment={**_inherited(), **self.environment, MARK_VARIABLE: mark},
        )
        return Child(name, program, mark, self)

    async def end(self) -> None:
        """End every process of the family and return when none is left: each has the mark of a child, and so is gone with it."""
        if self.living == 0:
            return
        await end_tree(self.mark, (), self.grace_seconds)

    async def run(
        self,
        argv: Sequence[Argument],
        *,
        timeout_seconds: float | None = None,
        cwd: Path | None = None,
        on_line: Callable[[str], None] | None = None,
        stdin: bytes | None = None,
    ) -> Completed:
        """Run a program to its end; see `TaskContext.run`."""
        child = await self.start(
            argv,
            cwd=cwd,
            stdin=stdin is not None,
            stdout=on_line is not None,
        )
        with _traced(child):
            async with child.living():
                try:
                    async with asyncio.timeout(timeout_seconds):
                        return await _run_to_end(child, on_line, stdin)
                except TimeoutError:
                    message = f"{child.name} took longer than {timeout_seconds:g} s"
                    raise DeadlineExceeded(message) from None

    @asynccontextmanager
    async def pipe(self, argv: Sequence[Argument], *, cwd: Path | None = None) -> AsyncIterator[ChildOutput]:
        """Run a program and read its standard output; see `TaskContext.pipe`."""
        child = await self.start(argv, cwd=cwd, stdout=True)
        with _traced(child):
            async with child.living():
                assert child.program.stdout is not None
                output = ChildOutput(child.program.stdout, child.completed)
                yield output
                if output.at_eof() and not output.asked:
                    completed = await child.completed()
                    if completed.returncode != 0:
                        raise ChildFailed(child.name, completed)


@contextlib.contextmanager
def _traced(child: Child) -> Iterator[None]:
    """Have a span for a program's life. Of its command line it has the program's name alone."""
    with spans.span(f"process {child.name}") as span:
        try:
            yield
        finally:
            if span is not None and (code := child.program.returncode) is not None:
                span.attributes["process.exit.code"] = code


async def _run_to_end(child: Child, on_line: Callable[[str], None] | None, stdin: bytes | None) -> Completed:
    work: list[asyncio.Task[object]] = [asyncio.create_task(child.completed())]
    if on_line is not None:
        assert child.program.stdout is not None
        work.append(asyncio.create_task(read_lines(child.program.stdout, on_line)))
    if stdin is not None:
        work.append(asyncio.create_task(child.feed(stdin)))
    try:
        completed, *_ = await asyncio.gather(*work)
    finally:
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)
    assert isinstance(completed, Completed)
    return completed
