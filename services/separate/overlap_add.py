"""Runs what needs a stretch of sound at once over sound of any length, in overlapping chunks that are faded into each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from services.separate.blocks import Block


def overlap_add(
    blocks: Iterable[Block], chunk: int, overlap: int, work: Callable[[Block], Block]
) -> Iterator[Block]:
    """Yield as many samples as come in, each out of `work` on a chunk around it.

    Chunks have `chunk` samples (the last one fewer) and share `overlap` with each neighbour, over which the one is faded out while
    the other is faded in with weights that sum up to one: where the results of two chunks agree, no seam can be heard.
    `overlap` must be less than half of `chunk`.
    """
    fade = np.linspace(0, 1, overlap + 2, dtype=np.float32)[1:-1, None]
    waiting: list[Block] = []
    held = 0
    tail: Block | None = None
    for block in blocks:
        waiting.append(block)
        held += len(block)
        # One overlap more than a chunk must be there: the last chunk is then never shorter than what it is faded over.
        while held >= chunk + overlap:
            sound = np.concatenate(waiting)
            done = _joined(tail, work(sound[:chunk]), fade)
            yield done[: chunk - overlap]
            tail = done[chunk - overlap :]
            waiting = [sound[chunk - overlap :]]
            held = len(waiting[0])
    if held:
        yield _joined(tail, work(np.concatenate(waiting)), fade)


def chunk_before(done: int, chunk: int, overlap: int) -> int:
    """Return where to begin again so that from sample `done` on the same comes: a chunk earlier, which is faded into the next."""
    step = chunk - overlap
    return max(done // step - 1, 0) * step


def _joined(tail: Block | None, result: Block, fade: Block) -> Block:
    if tail is None:
        return result
    result = result.copy()
    result[: len(fade)] = tail * (1 - fade) + result[: len(fade)] * fade
    return result
