"""The scores say what they mean: hand-counted cases, and a matching that no crossing can fool."""

from __future__ import annotations

import pytest

from subtitles.cue import Cue
from subtitles.score import character_score, compare, middle, normalise, percentile, word_score


@pytest.mark.parametrize(
    ("reference", "hypothesis", "cer", "wer"),
    [
        ("Hello there", "hello, THERE!", 0, 0),
        ("the cat sat", "the cat sat on", 2 / 9, 1 / 3),
        ("the cat sat", "the bat sat", 1 / 9, 1 / 3),
        ("don't", "don’t", 0, 0),
        ("今天天气好", "今天气好", 1 / 5, 1 / 5),
        ("", "", 0, 0),
        ("", "ghost", 1, 1),
        ("word", "", 1, 1),
    ],
)
def test_rates_by_hand(reference: str, hypothesis: str, cer: float, wer: float) -> None:
    """Edits over the reference's length, without case, marks and spaces."""
    assert character_score(reference, hypothesis).rate == pytest.approx(cer)
    assert word_score(reference, hypothesis).rate == pytest.approx(wer)


def test_normalising_keeps_letters_of_all_scripts() -> None:
    """Marks that belong to letters stay; full width becomes half."""
    assert normalise("Ｆｕｌｌ ＷＩＤＴＨ — “हिन्दी”, 'tis") == "full width हिन्दी tis"


def test_perfect_match() -> None:
    """A file against itself has no error of any kind."""
    cues = [Cue(n, n + 0.9, f"line {n}") for n in range(50)]
    score = compare(cues, cues)
    assert (score.exact, score.matched, score.missed, score.phantom, score.cer) == (50, 50, (), (), 0)
    assert percentile(score.start_errors, 0.95) == 0 and middle(score.end_errors) == 0


def test_missed_phantom_and_times() -> None:
    """What has no partner is counted on its side; times of partners are differences."""
    reference = [Cue(0, 1, "one"), Cue(2, 3, "two"), Cue(4, 5, "three")]
    hypothesis = [Cue(0.1, 1.2, "one"), Cue(4, 5, "three"), Cue(7, 8, "noise")]
    score = compare(reference, hypothesis)
    assert (score.missed, score.phantom, score.exact) == ((1,), (2,), 2)
    assert score.start_errors == (0.1, 0.0) and score.end_errors == (0.2, 0.0)


def test_a_line_shifted_onto_its_neighbour_is_no_match() -> None:
    """Cues that share time but not their words are no pair, however often it happens."""
    words = ["alpha", "bravo", "charlie", "delta", "echo"]
    reference = [Cue(n, n + 1, word) for n, word in enumerate(words)]
    shifted = [Cue(n, n + 1, words[(n + 1) % 5]) for n in range(5)]
    assert compare(reference, shifted).matched == 0
