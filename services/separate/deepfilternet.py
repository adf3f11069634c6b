"""DeepFilterNet 3: speech out of noise and music, through its C library.

It was made for speech: singing is taken for noise. Sound passes through it in frames of 10 ms, so that there are no chunks and no
seams; what comes out is late by 1,440 samples, which are taken back here.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from services.separate.blocks import Block

NAME = "deepfilternet3"
SAMPLE_RATE = 48_000
DELAY_SAMPLES = 1_440
"""By how much its output is late: two frames of look-ahead and one of overlap."""
_LEAD_SECONDS = 10
"""After so much sound it has forgotten what was before: what it then gives differs by less than −45 dB."""
_FRAME_SAMPLES = 480
_NO_LIMIT_DB = 100.0
"""Its own limit is not used: at 0 dB it also leaves the delay out. Whoever wants less mixes the sound back in."""
_FLOATS = ctypes.POINTER(ctypes.c_float)


class DeepFilterNet:
    """The library and its weights."""

    name = NAME
    device = "cpu"
    sample_rate: int | None = SAMPLE_RATE
    channels = 1

    def __init__(self, library: Path, weights: Path, model: str) -> None:
        self.model = model
        self._weights = str(weights).encode()
        self._library = ctypes.CDLL(str(library))
        self._library.df_create.restype = ctypes.c_void_p
        self._library.df_create.argtypes = [ctypes.c_char_p, ctypes.c_float, ctypes.c_char_p]
        self._library.df_get_frame_length.restype = ctypes.c_size_t
        self._library.df_get_frame_length.argtypes = [ctypes.c_void_p]
        self._library.df_process_frame.restype = ctypes.c_float
        self._library.df_process_frame.argtypes = [ctypes.c_void_p, _FLOATS, _FLOATS]
        self._library.df_free.argtypes = [ctypes.c_void_p]

    def voices(self, sound: Iterable[Block], sample_rate: int) -> Iterator[Block]:
        """See `Engine`; 48 kHz only."""
        if sample_rate != SAMPLE_RATE:
            raise ValueError(f"DeepFilterNet hears {SAMPLE_RATE} Hz and not {sample_rate}")
        state = self._library.df_create(self._weights, _NO_LIMIT_DB, None)
        if not state:
            raise RuntimeError("DeepFilterNet could not load its weights")
        try:
            yield from _undelayed(self._frames(state, sound))
        finally:
            self._library.df_free(state)

    def again_from(self, done: int, sample_rate: int) -> int:
        """See `Engine`; a lead of ten seconds, in whole frames."""
        return max(done - _LEAD_SECONDS * sample_rate, 0) // _FRAME_SAMPLES * _FRAME_SAMPLES

    def _frames(self, state: int, sound: Iterable[Block]) -> Iterator[tuple[Block, int]]:
        """Yield what comes out, late, and how many samples had come in for it; at the end the delay is driven out."""
        size = self._library.df_get_frame_length(state)
        rest = np.zeros(0, np.float32)
        for block in sound:
            samples = np.concatenate([rest, block[:, 0]])
            whole = len(samples) // size * size
            rest = samples[whole:]
            yield self._through(state, samples[:whole], size), len(block)
        missing = -(len(rest) + DELAY_SAMPLES) % size
        yield self._through(state, np.pad(rest, (0, DELAY_SAMPLES + missing)), size), 0

    def _through(self, state: int, samples: Block, size: int) -> Block:
        samples = np.ascontiguousarray(samples, np.float32)
        made = np.empty_like(samples)
        for first in range(0, len(samples), size):
            self._library.df_process_frame(
                state,
                samples[first:].ctypes.data_as(_FLOATS),
                made[first:].ctypes.data_as(_FLOATS),
            )
        return made[:, None]


def _undelayed(frames: Iterable[tuple[Block, int]]) -> Iterator[Block]:
    """Take the first late samples off, and let out as many as came in."""
    skip, owed = DELAY_SAMPLES, 0
    for made, came_in in frames:
        owed += came_in
        kept = made[min(skip, len(made)) :]
        skip -= len(made) - len(kept)
        yield kept[:owed]
        owed -= min(len(kept), owed)
