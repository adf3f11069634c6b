"""A recording's speech, heard in a worker process, and cues moved to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from subtitles.cue import Cue
from subtitles.sync import Activity, Sync, apply_sync, find_sync
from voice_activity import FRAME_SAMPLES, FRAME_SECONDS, Samples, probabilities

_BLOCK_SAMPLES = 1000 * FRAME_SAMPLES


@dataclass
class Speech:
    """16-bit samples at 16 kHz in a file, and how far cues may be moved to what is said there."""

    sound: Path
    reach_seconds: float
    cuts: bool
    rates: bool
    found: Sync | None = field(default=None, init=False)

    def move(self, cues: Sequence[Cue]) -> list[Cue]:
        """Return the cues where they belong, and remember how they were moved."""
        activity = Activity(list(probabilities(self._blocks())), FRAME_SECONDS)
        self.found = find_sync(
            cues, activity, reach_seconds=self.reach_seconds, cuts=self.cuts, rates=self.rates
        )
        return apply_sync(cues, self.found)

    def _blocks(self) -> Iterator[Samples]:
        with self.sound.open("rb") as file:
            while raw := file.read(2 * _BLOCK_SAMPLES):
                yield np.frombuffer(raw[: len(raw) // 2 * 2], "<i2").astype(np.float32) / 32768.0

    def to_json(self) -> dict[str, Any] | None:
        """Return how cues were moved, for the report."""
        return asdict(self.found) if self.found is not None else None
