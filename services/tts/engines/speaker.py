"""Speaker: what every engine is to the node."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]
"""Mono, from -1 to 1."""


class Speaker(Protocol):
    """A loaded voice."""

    sample_rate: int

    def say(self, sentence: str, speed: float) -> Samples:
        """Speak one sentence at a speed (1 is ordinary). Raises TtsFault."""
        ...


def trimmed(samples: Samples, sample_rate: int, margin_seconds: float = 0.03) -> Samples:
    """Return speech without the silence around it, so that pauses are the node's alone; 30 ms stay on either side."""
    if len(samples) == 0:
        return samples
    loud = np.flatnonzero(np.abs(samples) > max(0.004, float(np.max(np.abs(samples))) * 0.01))
    if len(loud) == 0:
        return samples[:0]
    margin = int(margin_seconds * sample_rate)
    return samples[max(0, loud[0] - margin) : loud[-1] + margin]
