"""Laws of lost speech: it is noticed, heard again, believed only where the model is no less sure, and told when it stays lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from services.asr.losses import losses
from services.asr.options import Decode
from services.asr.recognizer import HeardWindow
from services.asr.second_hearing import best_readings
from services.asr.segments import coverage, cut, on_clock
from services.asr.sound import RATE, Samples
from services.asr.transcript import Decoding, Word
from services.asr.voice_activity import Speech
from services.asr.windows import Piece, Window
from tests.services.asr.fakes import noise, sound_of

WINDOW = Window(
    tuple(
        Piece(start - 0.2, end + 0.2, Speech(start, end))
        for start, end in ((0.83, 3.33), (4.38, 6.94), (8.22, 10.18))
    )
)
"""Three sentences of a film in which the second one was lost."""


def said(text: str, start: float, end: float) -> list[Word]:
    """Return words spread over a time by their letters."""
    texts = text.split()
    letters, words, clock = sum(map(len, texts)), [], start
    for each in texts:
        until = clock + (end - start) * len(each) / letters
        words.append(Word(clock, until, f" {each}", 0.9))
        clock = until
    return words


FIRST, SECOND = "Every accepted task ends exactly once.", "Nothing is lost when a machine goes away."
THIRD = "And when you tell it to stop, it stops."
WHOLE = [*said(FIRST, 0.83, 3.33), *said(SECOND, 4.38, 6.94), *said(THIRD, 8.22, 10.18)]
LOSING = [
    *said(FIRST, 0.83, 3.33),
    *said("And when", 4.38, 6.94),
    *said("you tell it to stop, it stops.", 8.22, 10.18),
]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (WHOLE, []),
        (LOSING, [(4.38, 6.94)]),
        (LOSING[:6], [(4.38, 6.94), (8.22, 10.18)]),
        (said(FIRST, 0.83, 1.5) + WHOLE[6:], [(1.5, 3.33)]),
        (WHOLE[:6] + said("1,048,576", 4.38, 6.94) + WHOLE[14:], []),
        (WHOLE[:6] + said("搬起石頭砸自己的腳", 4.38, 6.94) + WHOLE[14:], []),
        ([], [(0.83, 3.33), (4.38, 6.94), (8.22, 10.18)]),
    ],
    ids=[
        "whole",
        "stretched words",
        "none at all",
        "the rest of a stretch",
        "a number",
        "wide signs",
        "no word",
    ],
)
def test_speech_with_too_few_words_is_a_loss(words: list[Word], found: list[tuple[float, float]]) -> None:
    """Wherever it lies and whether or not a word is stretched over it; numbers and signs that stand for more are none."""
    assert [(round(start, 2), round(end, 2)) for start, end, _ in losses(WINDOW, words)] == found


class Losing:
    """Loses the second sentence, unless it is told otherwise by how it is asked."""

    engine, model, window_seconds, side_by_side = "losing", "losing", 29.0, 1
    languages = frozenset({"en"})

    def __init__(self, answer: Callable[[float, int], tuple[list[Word], float]]) -> None:
        self._answer = answer
        self.asked: list[tuple[float, int]] = []
        """Length and beam of each window that was heard."""

    def guess_language(self, samples: Samples) -> tuple[str, float]:
        return "en", 1.0

    def hear(
        self, windows: Sequence[Samples], language: str, decode: Decode, context: str = ""
    ) -> list[HeardWindow]:
        heard = []
        for samples in windows:
            self.asked.append((round(len(samples) / RATE, 2), decode.beam_size))
            words, sure = self._answer(*self.asked[-1])
            heard.append(heard_of(words, sure))
        return heard


def heard_of(words: Sequence[Word], sure: float, start: float = WINDOW.start) -> HeardWindow:
    """Return words on the clock as an engine gives them: by the time of the window, which has no silence in it."""
    moved = []
    for word in words:
        skipped = sum(
            after.start - before.end
            for before, after in zip(WINDOW.pieces, WINDOW.pieces[1:], strict=False)
            if word.start >= after.start > start
        )
        moved.append(
            Word(word.start - start - skipped, word.end - start - skipped, word.text, word.probability)
        )
    return HeardWindow(tuple(moved), Decoding(avg_logprob=sure, compression_ratio=1.2))


def reading(recognizer: Losing, folder: Path, first: HeardWindow) -> HeardWindow:
    """Return what comes of a first reading."""
    sound = sound_of(folder, noise(11))
    (best,) = best_readings(recognizer, sound, 0, [(WINDOW, WINDOW.read(sound))], [first], "en", Decode())
    return best


def test_another_beam_finds_the_sentence_again(tmp_path: Path) -> None:
    """The window is heard once more, as a whole, by another beam; what loses less and is surer counts."""
    recognizer = Losing(lambda seconds, beam: (WHOLE, -0.04))
    assert SECOND in reading(recognizer, tmp_path, heard_of(LOSING, -0.13)).text
    assert [beam for _, beam in recognizer.asked] == [1]


def test_the_halves_find_it_where_no_beam_does(tmp_path: Path) -> None:
    """The window is cut at the pause before the loss; the halves' words stand where they were said."""

    def answer(seconds: float, beam: int) -> tuple[list[Word], float]:
        if beam == 1:
            return LOSING, -0.13
        if seconds < 3:  # the part before the loss
            return WHOLE[:6], -0.05
        return [Word(w.start - 4.18 + 0.63, w.end - 4.18 + 0.63, w.text, 0.9) for w in WHOLE[6:14]] + [
            Word(w.start - 8.02 + 0.63 + 2.96, w.end - 8.02 + 0.63 + 2.96, w.text, 0.9) for w in WHOLE[14:]
        ], -0.05

    recognizer = Losing(answer)
    best = reading(recognizer, tmp_path, heard_of(LOSING, -0.13))
    assert best.text == f"{FIRST} {SECOND} {THIRD}"
    assert recognizer.asked == [(8.22, 1), (2.9, 5), (5.32, 5)]
    assert losses(WINDOW, [token.word for token in on_clock(best, WINDOW)]) == []


def test_an_invention_is_not_believed_and_the_loss_is_told(tmp_path: Path) -> None:
    """What fills the gap but is less sure than what it replaces does not count; the coverage says what is missing."""
    recognizer = Losing(lambda seconds, beam: (WHOLE, -0.7))
    first = heard_of(LOSING, -0.13)
    assert reading(recognizer, tmp_path, first) == first
    segments = list(cut(on_clock(first, WINDOW), first, "en"))
    assert coverage(WINDOW, segments).missed == ((4.38, 6.94),)


def test_what_lost_nothing_is_heard_once(tmp_path: Path) -> None:
    """Neither a whole reading nor what the model takes for silence is heard again."""
    recognizer = Losing(lambda seconds, beam: (WHOLE, 0.0))
    silence = HeardWindow((), Decoding(avg_logprob=-1.5, no_speech_prob=0.9))
    for first in (heard_of(WHOLE, -0.2), silence):
        assert reading(recognizer, tmp_path, first) == first
    assert recognizer.asked == []
