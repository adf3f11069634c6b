"""What was heard in a recording, as people read it."""

from __future__ import annotations

import pytest

from services.separate.listening import SoundContent


@pytest.mark.parametrize(
    ("heard", "words"),
    [
        (
            SoundContent(0.797, 0.0, 0.131),
            "speech 80 % of the time, singing 0 %, music 13 %",
        ),
        (
            SoundContent(0.5, 0.25, 1.0, 12.34),
            "speech 50 % of the time, singing 25 %, music 100 %, speech 12.3 dB over the music",
        ),
        (
            SoundContent(0.5, 0.0, 0.9, -3.0),
            "speech 50 % of the time, singing 0 %, music 90 %, speech 3.0 dB below the music",
        ),
    ],
)
def test_shares_are_told_in_words(heard: SoundContent, words: str) -> None:
    """A sentence's words and no data structure: shares in percent, and the distance where there is one."""
    assert heard.in_words() == words
