"""How the demo compares a script with what was heard."""

from __future__ import annotations

import pytest

from stack.demo.comparison import character_error_rate, word_error_rate


@pytest.mark.parametrize(
    ("script", "heard", "rate"),
    [
        ("It's done, at last!", "its DONE at last", 0.0),
        ("one two three four", "one too three four", 0.25),
        ("one two three four", "one three four", 0.25),
        ("one two three four", "one two two three four", 0.25),
        ("one two", "", 1.0),
        ("one", "one and two", 2.0),
    ],
)
def test_words(script: str, heard: str, rate: float) -> None:
    """A wrong, a missing and an invented word count one each; punctuation, apostrophes and case do not."""
    assert word_error_rate(script, heard) == rate


def test_characters() -> None:
    """Where no spaces part words the characters count; full-width forms are the same as narrow ones."""
    assert character_error_rate("今天天气很好,去公园。", "今天天气很好 去公园") == 0
    assert character_error_rate("今天天气", "今天天地") == 0.25
    assert character_error_rate("ABC", "\uff41\uff42\uff43") == 0


def test_a_script_without_a_word_is_refused() -> None:
    """A rate by nothing is none."""
    with pytest.raises(ValueError, match="no word"):
        word_error_rate("…", "hello")
