"""The embedded neural engine: segmentation-3.0 hears speech and overlap, CAM++ tells voices apart; no PyTorch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from services.diarize.attribution import attribute
from services.diarize.campplus import EMBEDDING_SIZE, CampPlus
from services.diarize.engine import Step, Wanted
from services.diarize.hearing import Heard, SpeechFrames, speech_windows
from services.diarize.notes import Notes
from services.diarize.segmentation import Segmentation
from services.diarize.sound import Sound
from services.diarize.speakers import Unlikeness, find_speakers
from services.diarize.turns import Diarization

NAME = "segmentation-3.0+campplus"
UNLIKE = Unlikeness(distance=0.38, for_few=0.4)
"""Chosen on the even seeds of `bench/quality/diarize.py` and AMI dev00; the odd seeds and tst00 are what it reports."""
_VOICES = "voices"
_SEGMENTING = 0.3
_EMBEDDING = 0.95


class SegmentationCampPlus:
    """Both models, loaded."""

    name = NAME
    device = "cpu"

    def __init__(self, segmentation: Path, campplus: Path, threads: int, model: str) -> None:
        self.model = model
        self._segmentation = Segmentation(segmentation, threads)
        self._campplus = CampPlus(campplus, threads)

    def diarize(self, sound: Sound, wanted: Wanted, notes: Notes) -> Iterator[Step | Diarization]:
        """See `Engine`; notes of each window."""
        frames: SpeechFrames | None = None
        for item in self._segmentation.listen(sound, notes):
            if isinstance(item, SpeechFrames):
                frames = item
            else:
                yield Step(item * _SEGMENTING, "finding speech")
        assert frames is not None
        windows = speech_windows(frames)
        noted = notes.rows(_VOICES)
        voices = [np.zeros((0, EMBEDDING_SIZE), np.float32), noted.reshape(-1, EMBEDDING_SIZE)]
        done = len(noted)
        for some in self._campplus.embed(sound, windows[done:]):
            notes.add(_VOICES, some)
            voices.append(some)
            done += len(some)
            yield Step(_SEGMENTING + (_EMBEDDING - _SEGMENTING) * done / len(windows), "comparing voices")
        heard = Heard(frames, np.array(windows, float).reshape(-1, 2), np.concatenate(voices))
        speakers = find_speakers(heard.clear_voices(), UNLIKE, wanted.count)
        yield attribute(heard, speakers, wanted.min_pause_seconds)
