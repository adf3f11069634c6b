"""Runs ffmpeg and ffprobe: their arguments in, their own clock as progress, their failures as `MediaFault`.

It refuses to know who starts the child process: a `Runner` does (the task's context in the node, a plain
asyncio one in tests), and whoever does so also kills it.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from media.faults import FaultCode, MediaFault

PROGRESS_PERIOD_SECONDS = 0.25
"""How often ffmpeg reports its clock; the scheduler takes at most four reports a second."""

_STDERR_LINES_SHOWN = 4
_NOISE = re.compile(r"(?:file:)?/(?:[^\s/':,\]]+/)+| @ 0x[0-9a-f]+| '[^']*,[^']*,[^']*'")
"""Folders of this machine, addresses in memory, and the white list itself."""
_PICTURE = re.compile(r"\[(?:image2|\w+_pipe)(?: @ 0x[0-9a-f]+)?\] Format not on whitelist")
"""ffmpeg's demuxers of single pictures: by the name of the file, or by its content."""
_SYMPTOMS: tuple[tuple[str, FaultCode, str], ...] = (
    (
        "not on whitelist",
        FaultCode.MEDIA_FORMAT_REFUSED,
        "the format could reach other files and is not read",
    ),
    ("No space left on device", FaultCode.DISK_FULL, "the scratch disk is full"),
    (
        "moov atom not found",
        FaultCode.MEDIA_UNREADABLE,
        "the index of the MP4 is missing: it is cut off or no MP4",
    ),
    (
        "Invalid data found when processing input",
        FaultCode.MEDIA_UNREADABLE,
        "this is not media that ffmpeg reads",
    ),
    ("Decoder (codec", FaultCode.CODEC_UNSUPPORTED, "no decoder here reads the stream"),
    ("could not find codec parameters", FaultCode.MEDIA_UNREADABLE, "a stream's format cannot be found out"),
)


class Completed(Protocol):
    """How a child process ended."""

    @property
    def returncode(self) -> int:
        """The exit status; negative is the signal that ended it."""

    @property
    def stderr_tail(self) -> str:
        """The last part of what it wrote to stderr."""


class Runner(Protocol):
    """What starts processes for an engine and ends them when the task ends."""

    async def run(
        self,
        argv: Sequence[str],
        *,
        timeout_seconds: float | None = None,
        cwd: Path | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> Completed:
        """Run a program to its end; `on_line` gets every line of its stdout."""

    async def call(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Run a picklable module-level function in a process that can be killed."""


Progress = Callable[[float], Awaitable[None]]
"""Takes the share of the work that is done, 0 to 1."""


@dataclass(frozen=True)
class Ran:
    """How an ffmpeg run ended well."""

    clock_seconds: float
    """The latest end of anything that it wrote."""
    stderr_tail: str


class _Clock:
    """Takes ffmpeg's progress lines and wakes whoever passes them on."""

    def __init__(self, span_seconds: Callable[[], float | None]) -> None:
        self._span_seconds = span_seconds
        self._share = 0.0
        self.seconds = 0.0
        self._moved = asyncio.Event()

    def take_line(self, line: str) -> None:
        key, _, value = line.partition("=")
        if key != "out_time_us" or not value.lstrip("-").isdigit():
            return
        self.seconds = int(value) / 1e6
        span = self._span_seconds()
        if span and span > 0:
            share = self.seconds / span
            self._share = max(self._share, min(max(share, 0.0), 1.0))
            self._moved.set()

    async def report(self, progress: Progress) -> None:
        while True:
            await self._moved.wait()
            self._moved.clear()
            await progress(self._share)


async def run_ffmpeg(
    runner: Runner,
    arguments: Sequence[str],
    *,
    progress: Progress | None = None,
    span_seconds: Callable[[], float | None] = lambda: None,
    cwd: Path | None = None,
) -> Ran:
    """Run ffmpeg to its end.

    Args:
        arguments: what follows `ffmpeg` on the command line, inputs, graph and outputs.
        progress: told the share done, from the timestamps that ffmpeg has written.
        span_seconds: how much of that clock the work covers, asked at each report; None = not known (yet).
        cwd: the folder in which relative output names lie.

    Raises:
        MediaFault: ffmpeg ended with another status than 0.
    """
    clock = _Clock(span_seconds)
    period = str(PROGRESS_PERIOD_SECONDS)
    head = ["ffmpeg", "-nostdin", "-hide_banner", "-v", "error", "-y"]
    argv = [*head, "-progress", "pipe:1", "-stats_period", period, *arguments]
    reporter = asyncio.create_task(clock.report(progress)) if progress else None
    try:
        completed = await runner.run(argv, cwd=cwd, on_line=clock.take_line)
    finally:
        if reporter:
            reporter.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reporter
    if completed.returncode != 0:
        raise fault_of("ffmpeg", completed)
    if progress:
        await progress(1.0)
    return Ran(clock.seconds, completed.stderr_tail)


async def run_lines(
    runner: Runner,
    argv: Sequence[str],
    take_line: Callable[[str], float | None],
    progress: Progress | None = None,
) -> Completed:
    """Run a program of ours and return how it ended; `take_line` gets each line of output and returns the share done, or None."""
    share = 0.0
    moved = asyncio.Event()

    def take(line: str) -> None:
        nonlocal share
        done = take_line(line)
        if done is not None:
            share = max(share, min(max(done, 0.0), 1.0))
            moved.set()

    async def report(progress: Progress) -> None:
        while True:
            await moved.wait()
            moved.clear()
            await progress(share)

    reporter = asyncio.create_task(report(progress)) if progress else None
    try:
        completed = await runner.run(argv, on_line=take)
    finally:
        if reporter:
            reporter.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reporter
    if progress and completed.returncode == 0:
        await progress(1.0)
    return completed


async def run_ffprobe(runner: Runner, arguments: Sequence[str], on_line: Callable[[str], None]) -> None:
    """Run ffprobe, handing over each line that it prints.

    Raises:
        MediaFault: ffprobe cannot read the media.
    """
    argv = ["ffprobe", "-hide_banner", "-v", "error", *arguments]
    completed = await runner.run(argv, on_line=on_line)
    if completed.returncode != 0:
        raise fault_of("ffprobe", completed)


def fault_of(program: str, completed: Completed) -> MediaFault:
    """Turn a failed run into a fault: the known symptom's code, or FFMPEG_FAILED with ffmpeg's own words."""
    words = explain(completed.stderr_tail)
    if _PICTURE.search(completed.stderr_tail):
        meaning = "this is a still picture (or named as one), where a film or a sound is needed"
        return MediaFault(FaultCode.MEDIA_IS_PICTURE, f"{meaning} ({program}: {words})")
    for symptom, code, meaning in _SYMPTOMS:
        if symptom in completed.stderr_tail:
            return MediaFault(code, f"{meaning} ({program}: {words})")
    return MediaFault(FaultCode.FFMPEG_FAILED, f"{program} ended with status {completed.returncode}: {words}")


def explain(stderr_tail: str) -> str:
    """Return the last lines of ffmpeg's stderr on one line, without the folders of this machine."""
    lines = [line.strip() for line in stderr_tail.splitlines() if line.strip()]
    return _NOISE.sub("", "; ".join(lines[-_STDERR_LINES_SHOWN:])) or "no message"
