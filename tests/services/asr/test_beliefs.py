"""Laws of what is believed: loops and farewells on silence go, what is said stays."""

from __future__ import annotations

import pytest

from services.asr.beliefs import compression_ratio, is_sign_off, is_silence, loop_places, needs_retry
from services.asr.options import Decode
from services.asr.transcript import Decoding


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("thank you thank you thank you thank you thank you", "thank you"),
        ("so so so so so he said", "so he said"),
        ("no no no I said", "no no no I said"),
        ("ask what you can do ask what you can do", "ask what you can do ask what you can do"),
        ("a b a b a b a b c", "a b c"),
    ],
)
def test_only_loops_are_cut(text: str, kept: str) -> None:
    """A phrase said four times in a row is a loop and is said once; people do say things three times."""
    words = text.split()
    places = set(loop_places(words))
    assert " ".join(word for number, word in enumerate(words) if number not in places) == kept


@pytest.mark.parametrize(
    "text",
    [
        "Thanks for watching!",
        "Thank you very much for watching.",
        "字幕由志愿者提供",
        "ご視聴ありがとうございました。",
        "Untertitel der Amara.org-Community",
    ],
)
def test_a_farewell_goes_only_where_there_is_hardly_speech(text: str) -> None:
    """The same words are kept when the recogniser hears speech: people do say them."""
    assert is_sign_off(text, Decoding(no_speech_prob=0.7))
    assert not is_sign_off(text, Decoding(no_speech_prob=0.1))


def test_other_words_are_never_farewells() -> None:
    """What merely begins like a farewell stays, however silent it was."""
    assert not is_sign_off("Thank you, Mr. President, for coming.", Decoding(no_speech_prob=0.99))


def test_a_window_that_fails_is_heard_again() -> None:
    """Loops, doubt and impossible speed are reasons; silence that says so is none."""
    loop = "la la la " * 40
    sure = Decoding(avg_logprob=-0.2)
    assert needs_retry(loop, 25.0, Decoding(-0.2, 0, compression_ratio(loop)), Decode())
    assert needs_retry("unsure words", 3.0, Decoding(avg_logprob=-1.4), Decode())
    assert needs_retry("x" * 200, 2.0, sure, Decode())
    assert not needs_retry("said at leisure", 3.0, sure, Decode())
    silent = Decoding(avg_logprob=-1.4, no_speech_prob=0.9)
    assert is_silence(silent, Decode()) and not needs_retry("unsure words", 3.0, silent, Decode())
