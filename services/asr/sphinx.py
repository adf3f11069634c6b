"""pocketsphinx: English without a neural network, with the acoustic model that its package ships. Poor on all but clean speech."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from services.asr.faults import FaultCode, SpeechFault
from services.asr.options import Decode
from services.asr.recognizer import HeardWindow
from services.asr.sound import Samples, as_int16
from services.asr.transcript import Word

MODEL = "en-us"
_FRAMES_PER_SECOND = 100
_VARIANT = re.compile(r"\(\d+\)$")


def load_sphinx() -> Sphinx:
    """Load the decoder. Raises SpeechFault (ENGINE_MISSING)."""
    try:
        import pocketsphinx
    except ImportError as error:
        raise SpeechFault(FaultCode.ENGINE_MISSING, f"pocketsphinx is not installed: {error}") from None
    return Sphinx(pocketsphinx.Decoder(samprate=16_000, loglevel="FATAL"))


class Sphinx:
    """A loaded decoder. Its word times are those of its own search."""

    engine = "pocketsphinx"
    model = MODEL
    languages = frozenset({"en"})
    side_by_side = 1
    window_seconds = 20.0

    def __init__(self, decoder: Any) -> None:
        self._decoder = decoder

    def guess_language(self, samples: Samples) -> tuple[str, float]:
        """Return English: it knows no other."""
        return "en", 1.0

    def hear(
        self, windows: Sequence[Samples], language: str, decode: Decode, context: str = ""
    ) -> list[HeardWindow]:
        """Hear windows one after the other; of `decode` it understands nothing."""
        return [HeardWindow(self._words(samples)) for samples in windows]

    def _words(self, samples: Samples) -> tuple[Word, ...]:
        self._decoder.start_utt()
        self._decoder.process_raw(as_int16(samples).tobytes(), no_search=False, full_utt=True)
        self._decoder.end_utt()
        probability = self._decoder.get_logmath().exp
        return tuple(
            Word(
                part.start_frame / _FRAMES_PER_SECOND,
                (part.end_frame + 1) / _FRAMES_PER_SECOND,
                f" {_VARIANT.sub('', part.word)}",
                min(1.0, max(0.0, float(probability(part.prob)))),
            )
            for part in self._decoder.seg() or ()
            if part.word[0] not in "<["
        )
