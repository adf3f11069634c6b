"""Laws of reading English aloud: figures become the words that people say."""

from __future__ import annotations

import pytest

from services.tts.text.english import read_english
from services.tts.text.english_numbers import integer, ordinal, year

ENGLISH = [
    ("On 2026-11-29 at 7:30 pm.", "On November twenty-ninth, twenty twenty-six at seven thirty P M."),
    ("Nov 29, 2026", "November twenty-ninth, twenty twenty-six"),
    ("29 November 2026", "November twenty-ninth, twenty twenty-six"),
    ("3/4/2026", "March fourth, twenty twenty-six"),
    ("25/12/2026", "December twenty-fifth, twenty twenty-six"),
    ("14:05", "fourteen oh five"),
    ("9:00", "nine o'clock"),
    ("$9.99", "nine dollars and ninety-nine cents"),
    ("$1", "one dollar"),
    ("$0.50", "fifty cents"),
    ("£1.5 million", "one point five million pounds"),
    ("12.5%", "twelve point five percent"),
    ("1/2 and 3/4 and 2/3", "one half and three quarters and two thirds"),
    ("555-123-4567", "five five five, one two three, four five six seven"),
    ("25°C, -5°C", "twenty-five degrees Celsius, minus five degrees Celsius"),
    ("5 km, 1 kg, 60 mph", "five kilometers, one kilogram, sixty miles per hour"),
    ("Version 2.0.1", "Version two point zero point one"),
    ("the 1990s", "the nineteen nineties"),
    ("1,234,567", "one million two hundred thirty-four thousand five hundred sixty-seven"),
    ("pages 3-5", "pages three to five"),
    ("1st, 22nd, 111th", "first, twenty-second, one hundred eleventh"),
    ("No. 5 and #7", "number five and number seven"),
    ("e.g. this & that", "for example this and that"),
    ("-3.14", "minus three point one four"),
    ("in 1905", "in nineteen oh five"),
    ("007", "zero zero seven"),
    ("plain words stay", "plain words stay"),
]


@pytest.mark.parametrize(("written", "said"), ENGLISH)
def test_english_figures(written: str, said: str) -> None:
    """Numbers, dates, times, sums, units, telephone numbers, versions have one right reading each."""
    assert read_english(written).strip() == said


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (2000, "two thousand"),
        (1900, "nineteen hundred"),
        (2026, "twenty twenty-six"),
        (2005, "two thousand five"),
    ],
)
def test_years_are_said_in_pairs(number: int, words: str) -> None:
    """But for the first of a millennium."""
    assert year(number) == words


def test_integers_and_ordinals() -> None:
    """Groups of three, and the irregular ordinals."""
    assert integer(1_000_001) == "one million one"
    assert integer(-7) == "minus seven"
    assert [ordinal(number) for number in (1, 12, 20, 33, 100)] == [
        "first", "twelfth", "twentieth", "thirty-third", "one hundredth"
    ]  # fmt: skip


def test_no_digit_is_left() -> None:
    """Whatever stands around them, digits become words."""
    text = "a1b22 3.4.5/6-7:8 9% $10k #11 12:60 99/99/9999 12345678901234567890"
    assert not any(sign.isdecimal() for sign in read_english(text))
