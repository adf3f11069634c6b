"""How a process uses its memory: where large, short-lived buffers lie, and how seldom garbage is looked for.

glibc takes blocks from 128 KiB up straight from the kernel and returns them at once, so a message of 1 MiB costs 256 page
faults for every copy of it: measured, two thirds of the time of a gRPC stream of such messages. Told to keep up to a few
dozen MiB, the same stream runs five times as fast.

A model is the other way round. glibc raises its limit with each large block that is freed, up to 32 MiB, so that a network's
tensors, of ten sizes and some megabytes each, soon lie in the heap and leave holes there: measured, 203 to 274 MiB for the same
recording, by luck. Told to give them back, the process has 172 to 177 MiB from its first window to its last, for some 4 % more
time, the kernel's.
With another C library both do nothing.
"""

from __future__ import annotations

import ctypes
import gc

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8

LARGE_BLOCK_BYTES = 16 * 1024 * 1024
"""Blocks below this size are reused within the heap."""

KEPT_BYTES = 32 * 1024 * 1024
"""Free memory at the heap's end that is kept for the next messages; it bounds what idle processes hold."""

ARENAS = 2
"""Heaps that threads share; glibc's default, eight a core, lets every thread keep its own free memory."""

TENSOR_BYTES = 1024 * 1024
"""Blocks from this size up go back to the kernel when they are freed, in a process that gives them back."""


GARBAGE_THRESHOLDS = (10_000, 10, 20)
"""Objects made until the youngest are looked through, and how often the older ones are in turn. Python's default of 700 has a
server look after every few requests, and its oldest hold all that was imported: measured, a fifth of the time of a short task."""


def look_for_garbage_seldom() -> None:
    """Set the thresholds, and leave out for ever what is there now; call it when everything is imported.

    Only objects in reference cycles wait for this; the others go with their last reference, as always.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)


def keep_large_blocks() -> bool:
    """Keep large blocks in the heap, for a server; call it before threads start. False where the C library has no mallopt."""
    return _set(
        {_M_MMAP_THRESHOLD: LARGE_BLOCK_BYTES, _M_TRIM_THRESHOLD: KEPT_BYTES, _M_ARENA_MAX: ARENAS},
    )


def give_back_large_blocks(kept_bytes: int = 0) -> bool:
    """Give large blocks back when they are freed, for a model's process. False where the C library has no mallopt.

    `kept_bytes`: of the free memory at the heap's end so much stays, for the small blocks of a process that also decodes; 0: as
    the C library has it, 128 KiB.

    Measure first: Kokoro, with far more tensors a second, went from 490 to 296 MiB by it and took half as long again. The node
    that reads goes from 400–570 MiB, by luck, to 275, for a sixth more time; with nothing kept to 260, for a little more still.
    """
    kept = {_M_TRIM_THRESHOLD: kept_bytes} if kept_bytes else {}
    return _set({_M_MMAP_THRESHOLD: TENSOR_BYTES, **kept})


def _set(values: dict[int, int]) -> bool:
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    obeyed = [mallopt(parameter, value) for parameter, value in values.items()]
    return all(obeyed)
