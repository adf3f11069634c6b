"""Tesseract as a reader of lines in scripts that RapidOCR does not know: a program, one process for many lines.

It is no good at pictures and good at black letters on white, so lines are made that first: letters are what is as bright as the
brightest strokes (or, where that says nothing, as dark as the darkest).
"""

from __future__ import annotations

import csv
import io
import os
import shutil
import subprocess
import tempfile
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from services.ocr.engine import Reading
from services.ocr.film import Luma
from services.ocr.ink import letters

_ROWS = 64
"""Height to which lines are brought."""
_BORDER = 16
_SPACE = 0.14
"""Least width of a space, in heights of the line."""
_HANGUL_SPACE = 0.32
"""The same between Korean syllables, in heights of the letters, without any ink: syllables have 0.26 at most between them, and
spaces 0.38 at least, in the font that it was measured on."""
_NEAR = 0.25
"""How far from where Tesseract puts the end of a word that may lie, in heights of the letters."""
_SECONDS = 120.0


@dataclass(frozen=True)
class _Word:
    text: str
    sure: float
    """0 to 100."""
    left: int
    right: int


class Tesseract:
    """The program, and the languages that it has here."""

    def __init__(self) -> None:
        self._path = shutil.which("tesseract")
        self.languages = self._listed()
        """Its names of installed languages: rus, kor; empty where it is not installed."""

    def _listed(self) -> frozenset[str]:
        if self._path is None:
            return frozenset()
        done = subprocess.run([self._path, "--list-langs"], capture_output=True, text=True, check=False)
        return frozenset(done.stdout.split("\n")[1:]) - {"", "osd"}

    def read(self, lines: Sequence[Luma], language: str, *, dark: bool = False) -> list[Reading]:
        """Return what each line says in a language that is installed; an empty text where it says nothing."""
        if not lines or self._path is None:
            return [Reading("", 0.0) for _ in lines]
        with tempfile.TemporaryDirectory(prefix="lines-") as name:
            folder = Path(name)
            paths = [folder / f"{number}.png" for number in range(len(lines))]
            pages = [black_on_white(line, dark=dark) for line in lines]
            for page, path in zip(pages, paths, strict=True):
                cv2.imwrite(str(path), page)
            (folder / "all.txt").write_text("".join(f"{path}\n" for path in paths))
            argv = [self._path, str(folder / "all.txt"), "stdout", "-l", language, "--psm", "7", "tsv"]
            done = subprocess.run(
                argv,
                capture_output=True,
                check=False,
                timeout=_SECONDS,
                # Its threads share single lines, and spin while they wait: two need three to thirty times the processor of one,
                # and are slower.
                env={**os.environ, "OMP_THREAD_LIMIT": "1"},
            )
        return _readings(done.stdout.decode("utf-8", "replace"), pages)


def black_on_white(line: Luma, *, dark: bool) -> Luma:
    """Return a line as black letters on white, of one height."""
    height, width = line.shape
    size = (max(1, round(width * _ROWS / height)), _ROWS)
    large = np.asarray(cv2.resize(line, size, interpolation=cv2.INTER_CUBIC), np.uint8)
    if dark:
        large = np.asarray(255 - large, np.uint8)
    drawn = np.where(letters(large), 0, 255).astype(np.uint8)
    border = cv2.copyMakeBorder(drawn, _BORDER, _BORDER, _BORDER, _BORDER, cv2.BORDER_CONSTANT, value=(255,))
    return np.asarray(border, np.uint8)


def _readings(table: str, pages: Sequence[Luma]) -> list[Reading]:
    """Read the table of words, a page each line."""
    words: dict[int, list[_Word]] = {}
    for row in csv.DictReader(io.StringIO(table), delimiter="\t", quoting=csv.QUOTE_NONE):
        text, sure = (row.get("text") or "").strip(), float(row.get("conf") or -1)
        if text and sure >= 0:
            left = int(row["left"])
            word = _Word(text, sure, left, left + int(row["width"]))
            words.setdefault(int(row["page_num"]) - 1, []).append(word)
    return [_joined(words.get(number, []), page) for number, page in enumerate(pages)]


def _joined(words: Sequence[_Word], page: Luma) -> Reading:
    """Put words together; where hardly anything is between two, they are one (Korean syllables come apart)."""
    if not words:
        return Reading("", 0.0)
    text = words[0].text
    for before, word in pairwise(words):
        text += (" " if _is_space(before, word, page) else "") + word.text
    letters = sum(len(word.text) for word in words)
    return Reading(text, sum(len(word.text) * word.sure for word in words) / letters / 100)


def _is_space(before: _Word, after: _Word, page: Luma) -> bool:
    """Whether two words are two: between Korean syllables by the page, since Tesseract says only roughly where those end."""
    if not (_is_hangul(before.text[-1]) or _is_hangul(after.text[0])):
        return after.left - before.right >= _SPACE * _ROWS
    filled = page < 128
    rows = np.flatnonzero(filled.any(axis=1))
    height = int(rows[-1] - rows[0]) + 1 if len(rows) else _ROWS
    near = _NEAR * height
    steps = np.diff(np.concatenate(([1], filled.any(axis=0).astype(np.int8), [1])))
    gaps = zip(np.flatnonzero(steps == -1), np.flatnonzero(steps == 1), strict=True)
    widest = max(
        (end - start for start, end in gaps if end >= before.right - near and start <= after.left + near),
        default=0,
    )
    return bool(widest >= _HANGUL_SPACE * height)


def _is_hangul(sign: str) -> bool:
    return unicodedata.name(sign, "").startswith("HANGUL")
