"""English words that a scanner broke are mended, and no other word is touched."""

from __future__ import annotations

import pytest

from subtitles.fixes.spelling import mend_words


@pytest.mark.parametrize(
    ("broken", "mended"),
    [
        ("inthe house", "in the house"),
        ("the rnan said", "the man said"),
        ("weII then", "well then"),
        ("s0mething is wr0ng", "something is wrong"),
        ("Ofthe many", "Of the many"),
        ("some th ing else", "some thing else"),
        ("the chi1dren", "the children"),
        ("vvhat now", "what now"),
    ],
)
def test_broken_words_are_mended(broken: str, mended: str) -> None:
    """Letters that look like others, spaces that were lost or put in."""
    assert mend_words(broken) == mended


@pytest.mark.parametrize(
    "text",
    [
        "Feed'st thy light's flame with self-substantial fuel,",
        "He met Winkie in Kansas, near Boq's house.",
        "The COBOL code from 1959, 2nd edition, 10am.",
        "A quiet sentence without any mistake in it.",
        "Đino! Ich weiß nicht.",
        "that that had had been said",
        "NASA and the UN met in Oz",
    ],
)
def test_sound_texts_stay(text: str) -> None:
    """Names, old words, numbers, capitals and other languages are none of a scanner's faults."""
    assert mend_words(text) == text
