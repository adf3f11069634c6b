"""Laws of windows: nothing is lost, nothing overlaps, nothing is too long, and time in a window maps into speech."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from services.asr.recognizer import HeardWindow
from services.asr.segments import cut, on_clock, spread
from services.asr.transcript import Word
from services.asr.voice_activity import Speech
from services.asr.windows import Window, pack, pad

stretches = st.lists(st.tuples(st.floats(0.04, 20), st.floats(0.03, 25)), min_size=1, max_size=30)


def speech_of(rows: list[tuple[float, float]]) -> list[Speech]:
    """Make speech of (silence before, duration)."""
    found, clock = [], 0.0
    for silence, duration in rows:
        found.append(Speech(clock + silence, clock + silence + duration))
        clock = found[-1].end
    return found


def windows_of(rows: list[tuple[float, float]]) -> tuple[list[Speech], list[Window]]:
    found = speech_of(rows)
    return found, list(pack(pad(found, 0.2, 0.0, found[-1].end + 1), 28.0))


@given(stretches)
def test_every_piece_of_speech_is_in_exactly_one_window(rows: list[tuple[float, float]]) -> None:
    """Windows hold all speech once and in order, pads never overlap, and no window is longer than the engine hears."""
    found, windows = windows_of(rows)
    pieces = [piece for window in windows for piece in window.pieces]
    assert [piece.speech for piece in pieces] == found
    assert all(before.end <= after.start + 1e-9 for before, after in pairwise(pieces))
    assert all(piece.start <= piece.speech.start and piece.speech.end <= piece.end for piece in pieces)
    assert all(window.seconds <= 28.0 + 1e-6 for window in windows)


@given(stretches, st.lists(st.floats(0, 28), min_size=2, max_size=40))
def test_words_lie_in_speech_in_order_and_last(
    rows: list[tuple[float, float]], instants: list[float]
) -> None:
    """Whatever times an engine gives, words end up inside speech (± 50 ms), with a duration, none before the one before it."""
    _, windows = windows_of(rows)
    window = windows[0]
    edges = sorted(min(instant, window.seconds) for instant in instants)
    heard = HeardWindow(tuple(Word(a, b, f" {n}", 0.5) for n, (a, b) in enumerate(pairwise(edges))))
    words = [token.word for token in on_clock(heard, window)]
    assert [word.text for word in words] == [word.text for word in heard.words]
    assert all(word.end > word.start for word in words)
    assert all(before.start <= after.start + 1e-9 for before, after in pairwise(words))
    for word in words:
        if word.aligned:
            middle = (word.start + word.end) / 2
            assert any(p.speech.start - 0.06 <= middle <= p.speech.end + 0.06 for p in window.pieces)


def test_a_window_ends_at_the_best_pause() -> None:
    """Of the places where a window is three quarters full, the longest pause is taken, not the last one that fits."""
    rows = [(0.3, 5.2), (0.2, 5.2), (0.2, 5.2), (0.2, 5.2), (1.5, 5.2), (0.2, 5.2), (0.2, 5.2)]
    _, windows = windows_of(rows)
    assert [len(window.pieces) for window in windows] == [4, 3]


def test_a_window_is_filled_rather_than_ended_at_a_long_pause_early() -> None:
    """Each window costs the same, so that a pause in its first three quarters does not end it."""
    rows = [(0.3, 5.2), (0.2, 5.2), (2.0, 5.2), (0.2, 5.2), (0.2, 5.2), (0.2, 5.2)]
    _, windows = windows_of(rows)
    assert [len(window.pieces) for window in windows] == [5, 1]


def test_the_last_word_before_a_pause_is_trimmed() -> None:
    """A word that the engine stretches into silence ends where speech ends."""
    window = Window(tuple(pad([Speech(1.0, 2.0), Speech(5.0, 6.0)], 0.2, 0.0, 7.0)))
    heard = HeardWindow((Word(0.2, 1.6, " long", 0.9), Word(1.8, 2.2, " next", 0.9)))
    first, second = (token.word for token in on_clock(heard, window))
    assert first.end <= 2.05 + 1e-9 and 4.9 <= second.start < second.end <= 6.05 + 1e-9


def test_a_text_without_times_gets_some_and_says_so() -> None:
    """Words that could not be timed share the time by their letters, and are not called aligned."""
    words = spread([" a", " abc"], 1.0, 3.0, 0.5)
    assert [(word.start, word.end, word.aligned) for word in words] == [(1.0, 1.5, False), (1.5, 3.0, False)]


def test_segments_end_with_sentences_and_pauses() -> None:
    """A sentence is a segment; an abbreviation ends none, a pause does."""
    texts = [" Mr.", " Fox", " left.", " Then", " he"]
    words = [Word(n * 0.4, n * 0.4 + 0.3, text, 0.9) for n, text in enumerate(texts)]
    words.append(Word(4.0, 4.3, " slept.", 0.9))
    heard = HeardWindow(tuple(words))
    window = Window(tuple(pad([Speech(0.0, 5.0)], 0.0, 0.0, 5.0)))
    assert [s.text for s in cut(on_clock(heard, window), heard, "en")] == [
        "Mr. Fox left.",
        "Then he",
        "slept.",
    ]
