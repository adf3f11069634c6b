"""Progress on stderr: bars on a terminal, a line for each step elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Self

from yivideo_client.models import Event

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

_STEP_PERCENT = 10.0


class Bars:
    """Shows how far tasks and transfers are, by name."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._rich: RichProgress | None = None
        self._rows: dict[str, TaskID] = {}
        self._told: dict[str, tuple[float, str]] = {}

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
            )
            self._rich.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._rich is not None:
            self._rich.stop()

    def show(self, name: str, percent: float | None, note: str) -> None:
        """Show where one row is; without a percent as it was."""
        if self._quiet:
            return
        if self._rich is not None:
            if name not in self._rows:
                self._rows[name] = self._rich.add_task(name, total=100.0, note=note)
            self._rich.update(self._rows[name], completed=percent, note=note)
            return
        before, said = self._told.get(name, (-_STEP_PERCENT, ""))
        now = before if percent is None else percent
        if (percent is None and note != said) or now >= before + _STEP_PERCENT:
            print(f"{name}  {max(now, 0.0):3.0f} %  {note}", file=sys.stderr, flush=True)
            self._told[name] = (now, note)

    def transfer(self, name: str, verb: str, done: int, total: int) -> None:
        """Show a transfer."""
        self.show(
            name, 100.0 * done / total if total else 100.0, f"{verb} {done / 1e6:.1f} of {total / 1e6:.1f} MB"
        )

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
