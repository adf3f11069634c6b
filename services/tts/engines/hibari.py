"""hibari: a small, fast English voice."""

from __future__ import annotations

import numpy as np

from services.tts.engines.speaker import Samples
from services.tts.text.english import read_english


class HibariSpeaker:
    """The voice that the package carries."""

    def __init__(self, threads: int, seed: int = 0) -> None:
        from hibari import SAMPLE_RATE, Hibari

        self.sample_rate = int(SAMPLE_RATE)
        self._voice = Hibari(threads=threads)
        self._seed = seed

    def say(self, sentence: str, speed: float) -> Samples:
        """Speak one sentence; the noise in the voice is seeded, so that the same text gives the same bytes."""
        sentence = read_english(sentence)
        return np.asarray(self._voice(sentence, speed=speed, seed=self._seed), np.float32)
