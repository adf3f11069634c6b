"""CAM++ voice embeddings: 192 numbers for a window of speech, alike for the same voice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import kaldi_native_fbank as knf
import numpy as np

from nodekit.models.onnx_session import open_session
from services.diarize.sound import SAMPLE_RATE, Samples, Sound
from services.diarize.voice_tree import Vectors

EMBEDDING_SIZE = 192
_MEL_BANDS = 80
_BATCH = 8
_SHORTEST_SAMPLES = SAMPLE_RATE // 2
"""A shorter window is widened to both sides: below half a second an embedding says little."""


class CampPlus:
    """The loaded model."""

    def __init__(self, model: Path, threads: int) -> None:
        self._session = open_session(model, threads)
        self._options = knf.FbankOptions()
        self._options.frame_opts.samp_freq = SAMPLE_RATE
        self._options.frame_opts.dither = 0
        self._options.mel_opts.num_bins = _MEL_BANDS

    def embed(self, sound: Sound, windows: Sequence[tuple[float, float]]) -> Iterator[Vectors]:
        """Yield the unit vectors of the windows in their order, some at a time, shape (some, 192)."""
        spans = [_samples_of(*window) for window in windows]
        for _, alike in groupby(spans, key=lambda span: span[1]):
            group = list(alike)
            for first in range(0, len(group), _BATCH):
                features = np.stack(
                    [self._features(sound.read(*span)) for span in group[first : first + _BATCH]]
                )
                vectors = self._session.run(None, {"x": features})[0]
                yield vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)

    def _features(self, samples: Samples) -> Samples:
        """Return log mel energies with their mean over time taken off, shape (frames, 80); Kaldi's scale of 16-bit samples."""
        bank = knf.OnlineFbank(self._options)
        bank.accept_waveform(SAMPLE_RATE, (samples * 32_768).tolist())
        bank.input_finished()
        frames = np.stack([bank.get_frame(i) for i in range(bank.num_frames_ready)])
        return np.asarray(frames - frames.mean(0), np.float32)


def _samples_of(start: float, end: float) -> tuple[int, int]:
    """Return first sample and count, at least half a second around the window's middle."""
    first, count = round(start * SAMPLE_RATE), round((end - start) * SAMPLE_RATE)
    if count < _SHORTEST_SAMPLES:
        first, count = first - (_SHORTEST_SAMPLES - count) // 2, _SHORTEST_SAMPLES
    return first, count
