"""What every separation engine is: sound in, the voices in it out, as many samples, a block at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from services.separate.blocks import Block


class Engine(Protocol):
    """A loaded engine; lives in a worker process."""

    name: str
    """What results call it."""
    model: str
    """What results call its weights."""
    device: str
    """`cpu` or `cuda`."""
    sample_rate: int | None
    """The only rate it works at; None: any."""
    channels: int
    """How many channels it hears at once: 1, or 2 for one that uses what stereo tells."""

    def voices(self, sound: Iterable[Block], sample_rate: int) -> Iterator[Block]:
        """Yield the voices of a sound of `channels` channels: in total as many samples as come in, none delayed."""

    def again_from(self, done: int, sample_rate: int) -> int:
        """Return from which sample on it must be given a sound again to go on at sample `done` as if it had never stopped."""
