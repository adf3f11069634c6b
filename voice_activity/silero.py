"""Silero's network, block by block; its state goes on from one to the next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

RATE = 16_000
"""Samples a second that the network hears."""
FRAME_SAMPLES = 512
FRAME_SECONDS = FRAME_SAMPLES / RATE
_CONTEXT_SAMPLES = 64
Samples: TypeAlias = "NDArray[np.float32]"
"""One channel, −1 to 1."""


def probabilities(blocks: Iterable[Samples]) -> Iterator[float]:
    """Give the probability of speech of each frame of 32 ms. All blocks but the last have whole frames."""
    # The engine is imported where it is used: a node that waits stays small.
    from faster_whisper.vad import get_vad_model

    session: Any = get_vad_model().session
    hidden, cell = (np.zeros((1, 1, 128), np.float32) for _ in range(2))
    tail = np.zeros(_CONTEXT_SAMPLES, np.float32)
    for block in blocks:
        frames = np.pad(block, (0, -len(block) % FRAME_SAMPLES)).reshape(-1, FRAME_SAMPLES)
        if not len(frames):
            continue
        before = np.concatenate([tail[None], frames[:-1, -_CONTEXT_SAMPLES:]])
        tail = frames[-1, -_CONTEXT_SAMPLES:]
        shares, hidden, cell = session.run(
            None, {"input": np.concatenate([before, frames], 1), "h": hidden, "c": cell}
        )
        yield from shares.reshape(-1).tolist()
