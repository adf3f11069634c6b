"""The engine without weights: speech by loudness, voices by the shape of their spectrum (MFCC) and their pitch.

It tells clearly different voices apart in a quiet recording, hears no overlap, and is no match for the neural engine; it is here
so that a machine without models still has an answer, which says whose it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import kaldi_native_fbank as knf
import numpy as np

from services.diarize.attribution import attribute
from services.diarize.engine import Step, Wanted
from services.diarize.hearing import Heard, SpeechFrames, speech_windows
from services.diarize.notes import Notes
from services.diarize.sound import SAMPLE_RATE, Samples, Sound
from services.diarize.speakers import Unlikeness, find_speakers
from services.diarize.turns import Diarization

if TYPE_CHECKING:
    from numpy.typing import NDArray

NAME = "mfcc+f0"
UNLIKE = Unlikeness(distance=0.35, for_few=0.5)
_FRAME_SAMPLES = SAMPLE_RATE // 100
_BLOCK_FRAMES = 3000
_ABOVE_FLOOR_DB = 10.0
_BELOW_PEAK_DB = 40.0
_SILENCE_DB = -75.0
_SMOOTH_FRAMES = 21
_CEPSTRA = 20
_FEATURES = _CEPSTRA
_DIMENSIONS = 256
_LOUDNESS_SHARE = 0.4


class MfccF0:
    """The engine; there is nothing to load."""

    name = NAME
    model = "none"
    device = "cpu"

    def __init__(self) -> None:
        self._kernel = _GaussianKernel()
        self._mfcc = knf.MfccOptions()
        self._mfcc.frame_opts.samp_freq = SAMPLE_RATE
        self._mfcc.frame_opts.dither = 0
        self._mfcc.mel_opts.num_bins = 40
        self._mfcc.num_ceps = _CEPSTRA
        self._mfcc.use_energy = False

    def diarize(self, sound: Sound, wanted: Wanted, notes: Notes) -> Iterator[Step | Diarization]:
        """See `Engine`; leaves no notes."""
        levels: list[Samples] = []
        frames = sound.length // _FRAME_SAMPLES
        for first in range(0, frames, _BLOCK_FRAMES):
            count = min(_BLOCK_FRAMES, frames - first)
            levels.append(_levels(sound.read(first * _FRAME_SAMPLES, count * _FRAME_SAMPLES)))
            yield Step(0.2 * (first + count) / frames, "finding speech")
        heard = speech_frames(np.concatenate(levels) if levels else np.zeros(0, np.float32))
        windows = speech_windows(heard)
        voices = np.zeros((len(windows), _DIMENSIONS), np.float32)
        for number, (start, end) in enumerate(windows):
            first = round(start * SAMPLE_RATE)
            voices[number] = self._voice(
                sound.read(first, max(round(end * SAMPLE_RATE) - first, SAMPLE_RATE // 4))
            )
            yield Step(0.2 + 0.75 * (number + 1) / len(windows), "comparing voices")
        everything = Heard(heard, np.array(windows, float).reshape(-1, 2), voices)
        speakers = find_speakers(everything.clear_voices(), UNLIKE, wanted.count)
        yield attribute(everything, speakers, wanted.min_pause_seconds)

    def _voice(self, samples: Samples) -> Samples:
        """Return the unit vector of a window."""
        online = knf.OnlineMfcc(self._mfcc)
        online.accept_waveform(SAMPLE_RATE, (samples * 32_768).tolist())
        online.input_finished()
        cepstra = np.stack([online.get_frame(i) for i in range(online.num_frames_ready)])
        loud = cepstra[:, 0] >= np.quantile(cepstra[:, 0], _LOUDNESS_SHARE)
        shape = cepstra[loud][:, 1:].mean(0)
        return self._kernel.map(np.concatenate([shape / _SHAPE_SCALE, [_octaves(samples) / _PITCH_SCALE]]))


_SHAPE_SCALE = 12.0
"""A difference in a mean cepstral coefficient that means as much as `_PITCH_SCALE` octaves."""
_PITCH_SCALE = 0.35


class _GaussianKernel:
    """Maps features to unit vectors whose dot product falls with the square of their distance, by random Fourier features
    (Rahimi and Recht 2007); so that clustering by cosine serves here too.
    """

    def __init__(self) -> None:
        chance = np.random.default_rng(1)
        self._frequencies = chance.standard_normal((_FEATURES, _DIMENSIONS // 2)) / np.sqrt(_FEATURES) * 2

    def map(self, features: NDArray[np.float64]) -> Samples:
        phases = features @ self._frequencies
        return np.asarray(
            np.concatenate([np.cos(phases), np.sin(phases)]) / np.sqrt(_DIMENSIONS // 2), np.float32
        )


def speech_frames(levels: Samples) -> SpeechFrames:
    """Tell speech by loudness, in dBFS for each 10 ms: clearly over the quietest tenth, and not far below the loudest."""
    speech = np.zeros(len(levels), bool)
    if len(levels) and levels.max() > _SILENCE_DB:
        floor, peak = float(np.quantile(levels, 0.1)), float(np.quantile(levels, 0.99))
        least = max(min(floor + _ABOVE_FLOOR_DB, peak - 6.0), peak - _BELOW_PEAK_DB, _SILENCE_DB)
        loud = (levels > least).astype(np.float64)
        box = np.ones(_SMOOTH_FRAMES) / _SMOOTH_FRAMES
        speech = np.convolve(loud, box, "same")[: len(levels)] >= 0.3
    return SpeechFrames(0.01, 0.0, speech, np.zeros(len(levels), bool))


def _levels(samples: Samples) -> Samples:
    power = (samples.reshape(-1, _FRAME_SAMPLES).astype(np.float64) ** 2).mean(1)
    return np.asarray(10 * np.log10(power + 1e-12), np.float32)


def _octaves(samples: Samples) -> float:
    """Return the median pitch over 100 Hz, in octaves, by autocorrelation of 40 ms pieces; 0.5 where nothing is voiced."""
    size, hop = 640, 320
    count = (len(samples) - size) // hop + 1
    if count < 1:
        return 0.5
    pieces = np.lib.stride_tricks.sliding_window_view(samples, size)[::hop][:count]
    pieces = pieces - pieces.mean(1, keepdims=True)
    spectrum = np.abs(np.fft.rfft(pieces, 2 * size)) ** 2
    likeness = np.fft.irfft(spectrum)[:, :size]
    likeness /= np.maximum(likeness[:, :1], 1e-9)
    shortest, longest = SAMPLE_RATE // 400, SAMPLE_RATE // 70
    lags = shortest + likeness[:, shortest:longest].argmax(1)
    voiced = likeness[np.arange(count), lags] > 0.5
    return float(np.median(np.log2(SAMPLE_RATE / lags[voiced] / 100))) if voiced.any() else 0.5
