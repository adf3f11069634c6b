"""pyannote's segmentation-3.0 as an ONNX model: who of at most three local speakers is heard, in windows of ten seconds.

Its classes are sets of speakers (none, one of three, two of three), so that speech and overlap can be read off without knowing who
the speakers are: that is all that is taken here, since windows of one length alone do not say whose voice it is elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime

from nodekit.models.onnx_session import open_session
from services.diarize.hearing import SpeechFrames
from services.diarize.notes import Notes
from services.diarize.sound import SAMPLE_RATE, Samples, Sound

WINDOW_SAMPLES = 10 * SAMPLE_RATE
FRAME_SAMPLES = 270
"""Samples from one frame to the next."""
_RECEPTIVE_SAMPLES = 991
_WINDOWS = "windows"
_SETS = np.array([0, 1, 1, 1, 2, 2, 2])
"""How many speakers each of the seven classes has."""


class Segmentation:
    """The loaded model."""

    def __init__(self, model: Path, threads: int) -> None:
        self._session: onnxruntime.InferenceSession = open_session(model, threads)
        self._input = self._session.get_inputs()[0].name

    def listen(
        self, sound: Sound, notes: Notes, step_samples: int = WINDOW_SAMPLES // 2
    ) -> Iterator[float | SpeechFrames]:
        """Yield the share of the recording that was heard, 0 to 1, and last the frames.

        Windows begin every `step_samples`; where they overlap their probabilities are averaged.
        """
        count = max(1, math.ceil((sound.length - WINDOW_SAMPLES) / step_samples) + 1)
        frames = math.ceil(sound.length / FRAME_SAMPLES)
        speech, overlap, seen = (np.zeros(frames, np.float32) for _ in range(3))
        noted = notes.rows(_WINDOWS)
        for number in range(count):
            first = number * step_samples
            if number < len(noted):
                any_of, two_of = noted[number].reshape(2, -1)
            else:
                any_of, two_of = self._window(sound.read(first, WINDOW_SAMPLES))
                notes.add(_WINDOWS, np.concatenate([any_of, two_of])[None])
            place = round(first / FRAME_SAMPLES)
            size = max(min(len(any_of), frames - place), 0)
            speech[place : place + size] += any_of[:size]
            overlap[place : place + size] += two_of[:size]
            seen[place : place + size] += 1
            yield (number + 1) / count
        seen = np.maximum(seen, 1)
        yield SpeechFrames(
            step_seconds=FRAME_SAMPLES / SAMPLE_RATE,
            first_seconds=(_RECEPTIVE_SAMPLES - FRAME_SAMPLES) / 2 / SAMPLE_RATE,
            speech=speech / seen >= 0.5,
            overlap=overlap / seen >= 0.5,
        )

    def _window(self, samples: Samples) -> tuple[Samples, Samples]:
        """Return the probability that anybody, and that two speak, for each frame."""
        scores = self._session.run(None, {self._input: samples[None, None]})[0][0]
        odds = np.exp(scores - scores.max(-1, keepdims=True))
        odds /= odds.sum(-1, keepdims=True)
        return odds[:, _SETS >= 1].sum(-1), odds[:, _SETS >= 2].sum(-1)
