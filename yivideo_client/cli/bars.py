"""Progress on stderr: bars on a terminal, a line for each step elsewhere."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

from yivideo_client.cli.failures import say
from yivideo_client.cli.plain import plain
from yivideo_client.models import Event

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

_STEP_PERCENT = 10.0
_MOST_ROWS = 8
_ALL = ""
"""The name of the row that counts jobs."""


@dataclass(frozen=True)
class _Told:
    """What was last said of a row."""

    percent: float = -_STEP_PERCENT
    note: str = ""
    is_transfer: bool = False


class Bars:
    """Shows how far tasks and transfers are, by name."""

    def __init__(self, *, quiet: bool = False, jobs: int = 1) -> None:
        """`jobs`: how many there will be; of more than a terminal has rows for, those that have ended are counted in one row."""
        self._quiet = quiet
        self._jobs = jobs
        self._ended = 0
        self._rich: RichProgress | None = None
        self._rows: dict[str, TaskID] = {}
        self._told: dict[str, _Told] = {}
        self._streamed: dict[str, int] = {}

    def __enter__(self) -> Self:
        if not self._quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

            self._rich = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TaskProgressColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.fields[note]}", markup=False),
                console=Console(stderr=True),
                redirect_stdout=sys.stdout.isatty(),  # what goes into a pipe is data, and goes there
            )
            self._rich.start()
            if self._jobs > _MOST_ROWS:
                self._rows[_ALL] = self._rich.add_task("all", total=self._jobs, note=f"0 of {self._jobs}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._rich is not None:
            self._rich.stop()

    def ended(self, name: str) -> None:
        """A job is over, however."""
        self._ended += 1
        if self._rich is None or _ALL not in self._rows:
            return
        for row in [one for one in self._rows if one == name or one.startswith(f"{name}: ")]:
            self._rich.remove_task(self._rows.pop(row))
        self._rich.update(self._rows[_ALL], completed=self._ended, note=f"{self._ended} of {self._jobs}")

    def show(self, name: str, percent: float | None, note: str) -> None:
        """Show how far a task is; without a percent as far as it was."""
        self._show(name, percent, note, is_transfer=False)

    def _show(self, name: str, percent: float | None, note: str, *, is_transfer: bool) -> None:
        if self._quiet:
            return
        note = plain(note)
        before = self._told.get(name, _Told())
        if before.is_transfer != is_transfer:  # how far a file was says nothing of the task
            before = _Told()
            percent = percent or 0.0
        if self._rich is not None:
            if name not in self._rows:
                self._rows[name] = self._rich.add_task(plain(name), total=100.0, note=note)
            self._rich.update(self._rows[name], completed=percent, note=note)
            self._told[name] = _Told(is_transfer=is_transfer)
            return
        now = before.percent if percent is None else percent
        is_step = percent is not None and abs(now - before.percent) >= _STEP_PERCENT
        is_word = note != before.note and (percent is None or now >= 100.0) and not is_transfer
        if is_step or is_word:
            share = " " * 5 if is_transfer else f"{max(now, 0.0):3.0f} %"
            say(f"{name}  {share}  {note}")
            self._told[name] = _Told(now, note, is_transfer)

    def transfer(self, name: str, verb: str, done: int, total: int) -> None:
        """Show a transfer."""
        percent = 100.0 * done / total if total else 100.0
        self._show(name, percent, f"{verb} {done / 1e6:.1f} of {total / 1e6:.1f} MB", is_transfer=True)

    def stream(self, name: str, verb: str, done: int, _: int) -> None:
        """Show a transfer of which nobody knows how long it is."""
        if self._rich is None and done < 2 * self._streamed.get(name, 0):
            return
        self._streamed[name] = done
        self._told[name] = _Told()  # its share of the whole is not known: each line is a step
        self._show(name, 0.0, f"{verb} {done / 1e6:.1f} MB", is_transfer=True)

    def event(self, name: str, event: Event) -> None:
        """Show a task's event."""
        if event.name == "completed":
            self.show(name, 100.0, "completed")
        elif (progress := event.progress) is not None:
            self.show(name, progress.percent, progress.message or progress.stage)
        elif event.name == "log":
            self.show(name, None, str(event.data.get("message", "")))
        elif event.name == "waiting_for_gpu":
            self.show(name, None, f"waits for a GPU, position {event.data.get('position')}")
        elif event.name == "retrying":
            self.show(name, None, "will be tried again")
        else:
            self.show(name, None, event.name)
