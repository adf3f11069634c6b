"""Segments: the words of a window, put on the clock, and cut where sentences and pauses are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from services.asr.losses import LOSS_SECONDS, losses
from services.asr.recognizer import HeardWindow
from services.asr.transcript import Coverage, Segment, Word
from services.asr.windows import Window

_PAUSE_SECONDS = 0.8
_LONGEST_SECONDS = 15.0
_SENTENCE_END = ".!?…。！？"
_CLAUSE_END = ",;:，；：、"
_CLOSING = "\"'”’)]」』）】"
_EDGE_SECONDS = 0.05
"""How far a word may reach over the edges of speech: the detector's frames are 32 ms."""
_SHORTEST_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Token:
    """A word on the clock with the engine's tokens."""

    word: Word
    tokens: tuple[int, ...]


def on_clock(heard: HeardWindow, window: Window) -> list[Token]:
    """Return a window's words on the clock: in order, inside speech, none without a duration.

    A word belongs to the piece of speech that its middle lies in and is trimmed to it: Whisper stretches the last word before a
    pause into the pause. A word that has no room left gets a share of its neighbour's, and is marked as not aligned.
    """
    placed: list[Token] = []
    for number, word in enumerate(heard.words):
        piece, _ = window.place((word.start + word.end) / 2)
        low, high = piece.speech.start - _EDGE_SECONDS, piece.speech.end + _EDGE_SECONDS
        low, high = max(low, piece.start), min(high, piece.end)
        start = min(max(window.place(word.start)[1], low), high - _SHORTEST_SECONDS)
        end = max(min(window.place(word.end)[1], high), start + _SHORTEST_SECONDS)
        tokens = heard.tokens[number] if heard.tokens else ()
        placed.append(Token(replace(word, start=start, end=end), tokens))
    return _in_order(placed)


def _in_order(tokens: list[Token]) -> list[Token]:
    """Return words so that none begins before the one before it ends."""
    ordered: list[Token] = []
    for token in tokens:
        word = token.word
        if ordered and word.start < ordered[-1].word.end:
            last = ordered[-1]
            if word.end - last.word.end >= _SHORTEST_SECONDS:
                word = replace(word, start=last.word.end)
            else:
                # Both were given the same moment: they share it, and neither time was measured.
                end = max(last.word.end, last.word.start + 2 * _SHORTEST_SECONDS)
                middle = (last.word.start + end) / 2
                ordered[-1] = replace(last, word=replace(last.word, end=middle, aligned=False))
                word = replace(word, start=middle, end=end, aligned=False)
        ordered.append(replace(token, word=word))
    return ordered


def spread(texts: Sequence[str], start: float, end: float, probability: float) -> tuple[Word, ...]:
    """Return words with times in proportion to their letters, not aligned: for a text that the engine could not time."""
    total = sum(len(text.strip()) or 1 for text in texts)
    words, clock = [], start
    for text in texts:
        until = clock + (end - start) * (len(text.strip()) or 1) / total
        words.append(Word(clock, until, text, probability, aligned=False))
        clock = until
    return tuple(words)


def cut(tokens: Sequence[Token], heard: HeardWindow, language: str) -> Iterator[Segment]:
    """Give segments: a new one after a sentence's end or a pause of 0.8 s, and before 15 s are over."""
    run: list[Token] = []
    for token in tokens:
        if run and _ends(run, token.word):
            yield _segment(run, heard, language)
            run = []
        run.append(token)
        if run[-1].word.end - run[0].word.start > _LONGEST_SECONDS and len(run) > 1:
            place = _best_place(run)
            yield _segment(run[:place], heard, language)
            run = run[place:]
    if run:
        yield _segment(run, heard, language)


def _ends(run: Sequence[Token], following: Word) -> bool:
    last = run[-1].word
    if following.start - last.end >= _PAUSE_SECONDS:
        return True
    bare = last.text.strip().rstrip(_CLOSING)
    if not bare or bare[-1] not in _SENTENCE_END:
        return False
    # `Mr.` and `3.` end no sentence, nor does what goes on in lower case.
    return not (bare[-1] == "." and (len(bare) <= 3 or following.text.strip()[:1].islower()))


def _best_place(run: Sequence[Token]) -> int:
    """Return where to cut a long run: at the longest pause, a clause's end counting as a quarter of a second."""

    def worth(place: int) -> float:
        before, after = run[place - 1].word, run[place].word
        clause = 0.25 if before.text.strip()[-1:] in _CLAUSE_END else 0.0
        central = 1 - abs(2 * place / len(run) - 1)
        return after.start - before.end + clause + 0.1 * central

    return max(range(1, len(run)), key=worth)


def _segment(run: Sequence[Token], heard: HeardWindow, language: str) -> Segment:
    return Segment(
        start=run[0].word.start,
        end=run[-1].word.end,
        text="".join(token.word.text for token in run).strip(),
        words=tuple(token.word for token in run),
        language=language,
        decoding=heard.decoding,
        tokens=tuple(number for token in run for number in token.tokens),
    )


def coverage(window: Window, segments: Sequence[Segment], notice_losses: bool = True) -> Coverage:
    """Return how much of a window's speech lies under segments, and which has no word; with `notice_losses` also far too few."""
    covered, missed = 0.0, []
    for piece in window.pieces:
        speech = piece.speech
        shared = sum(
            max(0.0, min(segment.end, speech.end) - max(segment.start, speech.start)) for segment in segments
        )
        covered += min(shared, speech.seconds)
        if shared == 0 and speech.seconds >= LOSS_SECONDS:
            missed.append((speech.start, speech.end))
    if notice_losses:
        words = [word for segment in segments for word in segment.words]
        missed = [(start, end) for start, end, _ in losses(window, words)]
    spans = tuple((round(start, 3), round(end, 3)) for start, end in missed)
    return Coverage(window.speech_seconds, covered, spans)
