"""The engine of the node: PP-OCR finds lines and reads the languages of its recogniser; other scripts are read by Tesseract.

When no language is asked for, a few of the lines that PP-OCR is not sure of are read in all other scripts that are installed,
by one process. Once one of them has turned out to be of a script, all lines in doubt are read in it, and the surer reading counts.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence

from runtime.heap import KEPT_BYTES, give_back_large_blocks
from services.ocr.engine import Box, Reading, Runs
from services.ocr.faults import FaultCode, OcrFault
from services.ocr.film import Luma
from services.ocr.languages import SCRIPTS, TESSERACT_NAMES
from services.ocr.paddle_folder import PaddlePlace
from services.ocr.paddle_ocr import PaddleEngine
from services.ocr.pp_ocr import PpOcrEngine
from services.ocr.rapid import RapidEngine
from services.ocr.tesseract import Tesseract

_SURE = 0.88
"""Readings of PP-OCR with less are doubted: it reads Cyrillic as Latin letters of the same shape."""
_OTHER_SURE = 0.6
"""Least confidence of Tesseract, whose figures are lower."""
_SHARE = 0.7
"""Of a reading's letters that must be of the script."""
_LETTERS = 3
"""A reading needs so many, until the film is known to have the script."""
_WIDE = 2.0
"""Width over height from which a line may hold so many letters; what the detector takes for a single sign is mostly the scene."""
_TRIED = 3
"""Lines of one batch in which a script is looked for."""
_DOUBTED = 24
"""Lines that are tried in vain before it is settled that none of the scripts is there."""


class ScriptEngine:
    """One detector, two readers."""

    def __init__(self, own: PpOcrEngine, tesseract: Tesseract) -> None:
        self._own, self._tesseract = own, tesseract
        self.runs = Runs()
        self.begin("auto", Runs())

    @property
    def name(self) -> str:
        """What has read the film that was begun last."""
        used = [self._asked] if self._asked else sorted(self._seen)
        return "+".join([self._own.name, *(f"tesseract-{language}" for language in used)])

    @property
    def device(self) -> str:
        """Where the networks run."""
        return self._own.device

    def begin(self, language: str, runs: Runs) -> None:
        """Begin a film. Raises OcrFault (LANGUAGE_UNAVAILABLE)."""
        self.runs = runs
        self._own.begin(language, runs)
        self._seen: Counter[str] = Counter()
        self._tried = 0
        self._asked = ""
        self._candidates = self._others() if language == "auto" else []
        if language != "auto" and language not in self._own.languages:
            self._asked = self._name_of(language)

    def _others(self) -> list[str]:
        """Return Tesseract's names of the scripts that are tried beside what the recogniser reads itself."""
        own = {TESSERACT_NAMES[one] for one in self._own.languages if one in TESSERACT_NAMES}
        return [name for name in SCRIPTS if name in self._tesseract.languages and name not in own]

    def _name_of(self, language: str) -> str:
        """Return Tesseract's name of a language that it is to read. Raises OcrFault (LANGUAGE_UNAVAILABLE)."""
        name = TESSERACT_NAMES.get(language)
        if name is None:
            raise OcrFault(
                FaultCode.LANGUAGE_UNAVAILABLE,
                f"the recogniser {self._own.recogniser} does not read {language} (ocr.recogniser_folder); "
                "the engine rapidocr does",
                "/language",
            )
        if name not in self._tesseract.languages:
            raise OcrFault(
                FaultCode.LANGUAGE_UNAVAILABLE,
                f"{language} is read by Tesseract, which has not {name} here: install tesseract-ocr and "
                f"tesseract-ocr-{name.replace('_', '-')}",
                "/language",
            )
        return name

    def detector_width(self, width: int) -> int:
        """Return how wide pictures of a width are to be made before the detector sees them."""
        return self._own.detector_width(width)

    def find(self, pictures: Sequence[Luma], *, of_a_film: bool = True) -> list[list[Box]]:
        """Return the boxes of text in each picture."""
        return self._own.find(pictures, of_a_film=of_a_film)

    def read(self, lines: Sequence[Luma]) -> list[Reading]:
        """Return what each line says."""
        if self._asked:
            return self._read_as_asked(lines)
        readings = self._own.read(lines)
        doubted = [number for number, one in enumerate(readings) if one.confidence < _SURE]
        wide = [
            lines[number] for number in doubted if lines[number].shape[1] >= _WIDE * lines[number].shape[0]
        ]
        if wide and not self._known() and self._tried <= _DOUBTED:
            self._look_for_script(wide)
        name = self._known()
        if name:
            others = self._read_in([lines[number] for number in doubted], name)
            for number, other in zip(doubted, others, strict=True):
                if self._counts(other, name) and other.confidence >= readings[number].confidence:
                    readings[number] = other
        return readings

    def _known(self) -> str:
        """Return the script that the film has shown; empty: none yet."""
        return self._seen.most_common(1)[0][0] if self._seen else ""

    def _look_for_script(self, doubted: Sequence[Luma]) -> None:
        """Read a few doubted lines, the widest, in all scripts at once, and note which they turn out to be of."""
        if not self._candidates:
            return
        widest = sorted(doubted, key=lambda line: -line.shape[1] / line.shape[0])[:_TRIED]
        self._tried += len(widest)
        for reading in self._run(widest, "+".join(self._candidates), dark=False):
            name = max(self._candidates, key=lambda one: share_of(reading.text, SCRIPTS[one]))
            if self._counts(reading, name):
                self._seen[name] += 1

    def _counts(self, reading: Reading, name: str) -> bool:
        letters = sum(sign.isalpha() for sign in reading.text)
        return (
            reading.confidence >= _OTHER_SURE
            and share_of(reading.text, SCRIPTS[name]) >= _SHARE
            and letters >= (1 if self._seen[name] else _LETTERS)
        )

    def _read_as_asked(self, lines: Sequence[Luma]) -> list[Reading]:
        """Read in the asked language; what is not sure may be of the letters that PP-OCR knows."""
        readings = self._read_in(lines, self._asked)
        unsure = [number for number, one in enumerate(readings) if one.confidence < _OTHER_SURE]
        for number, other in zip(unsure, self._own.read([lines[n] for n in unsure]), strict=True):
            if other.confidence >= _SURE:
                readings[number] = other
        return readings

    def _read_in(self, lines: Sequence[Luma], name: str) -> list[Reading]:
        if not lines:
            return []
        readings = self._run(lines, name, dark=False)
        unsure = [number for number, one in enumerate(readings) if one.confidence < _OTHER_SURE]
        if 2 * len(unsure) > len(lines):
            # Perhaps dark letters: a film has them in all lines.
            others = self._run([lines[number] for number in unsure], name, dark=True)
            for number, other in zip(unsure, others, strict=True):
                if other.confidence > readings[number].confidence:
                    readings[number] = other
        return readings

    def _run(self, lines: Sequence[Luma], names: str, *, dark: bool) -> list[Reading]:
        self.runs.recogniser += 1
        self.runs.lines += len(lines)
        return self._tesseract.read(lines, names, dark=dark)


def share_of(text: str, script: str) -> float:
    """Return which share of a text's letters are of a script, by the names that Unicode gives them."""
    letters = [sign for sign in text if sign.isalpha()]
    of_script = sum(unicodedata.name(sign, "").startswith(script) for sign in letters)
    return of_script / len(letters) if letters else 0.0


def load(threads: int) -> ScriptEngine:
    """Load RapidOCR and what Tesseract has, into a process that is a model's; `threads` cores are used."""
    # Its tensors come in many sizes, and leave holes in the heap that grow for hours.
    give_back_large_blocks(KEPT_BYTES)
    return ScriptEngine(RapidEngine(threads), Tesseract())


def load_paddle(place: PaddlePlace) -> ScriptEngine:
    """Load PaddleOCR in RapidOCR's place. Raises OcrFault: MODEL_UNSUITABLE, DEVICE_UNAVAILABLE."""
    give_back_large_blocks(KEPT_BYTES)
    return ScriptEngine(PaddleEngine(place), Tesseract())
