"""REPET: voices over music that repeats, without any weights (Rafii and Pardo, "REpeating Pattern Extraction Technique", 2013).

What comes again every period of the music is music; what does not is taken for voice. It serves loops and pop with a steady beat
and is no match for a trained model. The period is found by trying: of the peaks of the beat spectrum the one counts whose repeating
model explains most of the sound, since the strongest peak is often a multiple or a fraction of the right one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from services.separate.blocks import Block
from services.separate.overlap_add import chunk_before, overlap_add

if TYPE_CHECKING:
    from numpy.typing import NDArray

NAME = "repet"
_CHUNK_SECONDS = 36.0
_OVERLAP_SECONDS = 3.0
_WINDOW_SECONDS = 0.046
_SHORTEST_PERIOD_SECONDS = 0.8
_LOWEST_VOICE_HZ = 100.0
_CANDIDATES = 12
_REPETITIONS = 3
_LAGS_AROUND = 2
_EPSILON = 1e-9

Spectrum: TypeAlias = "NDArray[np.complex64]"
Magnitude: TypeAlias = "NDArray[np.float32]"
"""Shape (bins, frames)."""


class Repet:
    """The engine; there is nothing to load."""

    name = NAME
    model = "none"
    device = "cpu"
    sample_rate: int | None = None
    channels = 2

    def voices(self, sound: Iterable[Block], sample_rate: int) -> Iterator[Block]:
        """See `Engine`; any rate."""
        yield from overlap_add(sound, *_chunks(sample_rate), partial(_voices_of, sample_rate=sample_rate))

    def again_from(self, done: int, sample_rate: int) -> int:
        """See `Engine`."""
        return chunk_before(done, *_chunks(sample_rate))


def _chunks(sample_rate: int) -> tuple[int, int]:
    """Return samples of a chunk and of the overlap of two."""
    return round(_CHUNK_SECONDS * sample_rate), round(_OVERLAP_SECONDS * sample_rate)


def _voices_of(sound: Block, sample_rate: int) -> Block:
    size = 1 << max(round(np.log2(_WINDOW_SECONDS * sample_rate)), 6)
    spectra = [to_spectrum(sound[:, channel], size) for channel in range(sound.shape[1])]
    loudness = np.sqrt(sum(np.abs(spectrum) ** 2 for spectrum in spectra)).astype(np.float32)
    frame_seconds = size / 4 / sample_rate
    period = find_period(loudness, frame_seconds)
    if period is None:
        return sound.copy()  # nothing repeats, so nothing can be told to be music
    low = int(_LOWEST_VOICE_HZ * size / sample_rate) + 1
    voices = np.empty_like(sound)
    for channel, spectrum in enumerate(spectra):
        mask = 1 - repeating_mask(np.abs(spectrum).astype(np.float32), period)
        mask[:low] = 0
        voices[:, channel] = to_samples((spectrum * mask).astype(np.complex64), size, len(sound))
    return voices


def find_period(loudness: Magnitude, frame_seconds: float) -> int | None:
    """Return the period of what repeats, in frames; None when the sound is too short or silent.

    `loudness` is a magnitude spectrogram. Candidates are peaks of the beat spectrum (mean autocorrelation over the bins); each is
    tried at its neighbours, too, and judged by how much of the energy its repeating model leaves unexplained.
    """
    frames = loudness.shape[1]
    shortest, longest = max(int(_SHORTEST_PERIOD_SECONDS / frame_seconds), 2), frames // _REPETITIONS
    if longest <= shortest + 2 or not loudness.any():
        return None
    coarse = _coarse(loudness)
    beats = _beat_spectrum(coarse)[: longest + 1]
    inner = beats[shortest:longest]
    peaks = shortest + np.flatnonzero(
        (inner >= beats[shortest - 1 : longest - 1]) & (inner >= beats[shortest + 1 : longest + 1])
    )
    if not len(peaks):
        return None
    strongest = peaks[np.argsort(-beats[peaks])][:_CANDIDATES]
    lags = {
        lag
        for peak in strongest
        for lag in range(peak - _LAGS_AROUND, peak + _LAGS_AROUND + 1)
        if shortest <= lag <= longest
    }
    return int(min(lags, key=lambda lag: (_unexplained(coarse, lag), lag)))


def _coarse(loudness: Magnitude) -> Magnitude:
    """Return fewer bins, wider toward the top, so that trying a period is cheap."""
    edges = np.unique(np.geomspace(1, loudness.shape[0], 49).astype(int))
    rows = [loudness[first:last].mean(0) for first, last in pairwise(edges)]
    return np.asarray(np.log1p(100 * np.stack(rows) / loudness.max()), np.float32)


def _beat_spectrum(loudness: Magnitude) -> Magnitude:
    frames = loudness.shape[1]
    power = loudness**2
    power = power - power.mean(1, keepdims=True)
    spectrum = np.abs(np.fft.rfft(power, 2 * frames, axis=1)) ** 2
    likeness = np.fft.irfft(spectrum, axis=1)[:, :frames].mean(0)
    return np.asarray(likeness / np.arange(frames, 0, -1) / max(likeness[0], _EPSILON), np.float32)


def _unexplained(loudness: Magnitude, period: int) -> float:
    """Return the share of the sound that the repeating model leaves, and a little for a long period.

    A model of few repetitions explains more than is true, since the median of few is near to each of them.
    """
    mask = repeating_mask(loudness, period)
    left = float((loudness * (1 - mask)).sum() / max(loudness.sum(), _EPSILON))
    repetitions = float(loudness.shape[1] / period)
    return left * repetitions / (repetitions - 1.0)


def repeating_mask(loudness: Magnitude, period: int) -> Magnitude:
    """Return the share of each bin and frame that repeats with the period, 0 to 1."""
    bins, frames = loudness.shape
    repetitions = -(-frames // period)
    padded = np.full((bins, repetitions * period), np.nan, np.float32)
    padded[:, :frames] = loudness
    with np.errstate(all="ignore"):
        pattern = np.nanmedian(padded.reshape(bins, repetitions, period), axis=1)
    model = np.tile(pattern, (1, repetitions))[:, :frames]
    return np.asarray((np.minimum(model, loudness) + _EPSILON) / (loudness + _EPSILON), np.float32)


def to_spectrum(samples: NDArray[np.float32], size: int) -> Spectrum:
    """Return the short-time spectrum, Hann windows of `size` samples every quarter; shape (size/2 + 1, frames)."""
    padded = np.pad(samples, (size, size + -len(samples) % (size // 4)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[:: size // 4]
    return np.asarray(np.fft.rfft(frames * _window(size), axis=1).T, np.complex64)


def to_samples(spectrum: Spectrum, size: int, length: int) -> NDArray[np.float32]:
    """Return the samples of a short-time spectrum; the inverse of `to_spectrum`."""
    hop = size // 4
    frames = np.fft.irfft(spectrum.T, size, axis=1).astype(np.float32) * _window(size)
    samples = np.zeros(hop * (len(frames) - 1) + size, np.float32)
    for part in range(4):
        rows = frames[part::4]
        samples[part * hop : part * hop + rows.size] += rows.reshape(-1)
    return samples[size : size + length] / np.float32(1.5)  # squared Hann windows every quarter sum up to 1.5


def _window(size: int) -> NDArray[np.float32]:
    return np.asarray(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size), np.float32)
