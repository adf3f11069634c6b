"""Demucs: trained separators from a folder that a user has brought.

The package and PyTorch are in an environment of their own (`requirements-separation.in`), and imported only here, when the engine
is loaded. Nothing is fetched: the package would ask the network for what the folder has not, so it is told not to.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from services.separate.blocks import Block
from services.separate.overlap_add import chunk_before, overlap_add

NAME = "demucs"
_CHUNK_SECONDS = 60.0
_OVERLAP_SECONDS = 2.0
_SOURCE = "vocals"


class Demucs:
    """A demucs model (`<name>.yaml` of a bag with its `.th` files, or one `.th`), loaded."""

    name = NAME
    channels = 2

    def __init__(self, folder: Path, name: str, threads: int, shifts: int = 1) -> None:
        os.environ["HF_HUB_OFFLINE"] = "1"  # it would try for half a minute before it looks into the folder
        import torch
        from demucs.apply import apply_model
        from demucs.pretrained import get_model

        torch.set_num_threads(threads)
        self._torch, self._apply = torch, apply_model
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self._model: Any = get_model(name, repo=folder).to(self.device).eval()
        self.model = f"{name} (demucs {metadata.version('demucs')})"
        self.sample_rate: int | None = int(self._model.samplerate)
        self._place = list(self._model.sources).index(_SOURCE)
        self._shifts = shifts

    def voices(self, sound: Iterable[Block], sample_rate: int) -> Iterator[Block]:
        """See `Engine`; the model's own rate only."""
        yield from overlap_add(sound, *_chunks(sample_rate), self._voices_of)

    def again_from(self, done: int, sample_rate: int) -> int:
        """See `Engine`; what the model does at random differs."""
        return chunk_before(done, *_chunks(sample_rate))

    def _voices_of(self, sound: Block) -> Block:
        torch = self._torch
        wave = torch.from_numpy(np.ascontiguousarray(sound.T))
        mean, spread = wave.mean(), wave.std() + 1e-8
        with torch.no_grad():
            stems = self._apply(
                self._model,
                ((wave - mean) / spread)[None],
                device=self.device,
                shifts=self._shifts,
                split=True,
            )
        voices = stems[0, self._place].cpu() * spread + mean
        return np.asarray(voices.numpy().T, np.float32)


def _chunks(sample_rate: int) -> tuple[int, int]:
    """Return samples of a chunk and of the overlap of two."""
    return round(_CHUNK_SECONDS * sample_rate), round(_OVERLAP_SECONDS * sample_rate)
