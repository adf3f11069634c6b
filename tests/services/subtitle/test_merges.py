"""Transcript and speakers merged: the origin's rules to the letter, and the options that lose nothing."""

from __future__ import annotations

import pytest

from services.subtitle.realignment import realign
from services.subtitle.speaker_merge import merge_by_segment, merge_by_turn, merge_by_word
from services.subtitle.speakers import Turn, Turns, turns_from_json
from services.subtitle.tts_segments import SpeechLengths, prepare
from subtitles.cue import Cue, Word
from subtitles.sentences import lines_of, split_sentences
from subtitles.transcript import NotATranscript

SAID = "and so my fellow americans ask not what your country can do"


def words(text: str, start: float = 0.0, step: float = 0.5) -> tuple[Word, ...]:
    """Return a word each half second, 0.4 s long."""
    return tuple(
        Word(start + n * step, start + n * step + 0.4, f" {word}") for n, word in enumerate(text.split())
    )


SEGMENT = Cue(0, 6, SAID, words=words(SAID))
TWO = Turns([Turn(0, 2.2, "A"), Turn(2.3, 5.9, "B")])


def test_a_segment_is_cut_in_the_middle_between_two_speakers() -> None:
    """The cut lies half way from the one's end to the other's start, and the words go to either side by their centres."""
    merged = merge_by_segment([SEGMENT], TWO)
    assert [(cue.start, cue.end, cue.speaker, cue.text) for cue in merged] == [
        (0, 2.25, "A", "and so my fellow americans"),
        (2.25, 6, "B", "ask not what your country can do"),
    ]


@pytest.mark.parametrize(("turns", "confidence"), [(Turns([]), 0.5), (Turns([Turn(50, 60, "A")]), 0.3)])
def test_without_a_turn_it_is_speaker_00(turns: Turns, confidence: float) -> None:
    """Nobody near: SPEAKER_00 with 0.3; no diarization at all: 0.5."""
    (cue,) = merge_by_segment([SEGMENT], turns)
    assert (cue.speaker, cue.confidence, cue.text) == ("SPEAKER_00", confidence, SAID)


def test_an_interjection_takes_no_words() -> None:
    """Somebody who speaks inside another's turn, and ends before it does, cuts nothing."""
    merged = merge_by_segment([SEGMENT], Turns([Turn(0, 6, "A"), Turn(2, 2.6, "B")]))
    assert [cue.speaker for cue in merged] == ["A"]


def test_slivers_are_no_segments() -> None:
    """A piece shorter than 0.1 s goes to its neighbour."""
    merged = merge_by_segment([SEGMENT], Turns([Turn(0, 0.12, "A"), Turn(0.0, 6, "B")]))
    assert [cue.speaker for cue in merged] == ["B"]


def test_words_go_to_the_turn_of_their_centre() -> None:
    """Runs of one speaker become segments; a word in no turn goes on with the speaker before it."""
    merged = merge_by_word([SEGMENT], Turns([Turn(0, 2.2, "A"), Turn(3.4, 5.9, "B")]))
    assert [(cue.speaker, cue.text) for cue in merged] == [
        ("A", "and so my fellow americans ask not"),
        ("B", "what your country can do"),
    ]
    nearest = merge_by_word([SEGMENT], Turns([Turn(0, 2.2, "A"), Turn(3.4, 5.9, "B")]), nearest=True)
    assert (nearest[0].speaker, nearest[0].text) == ("A", "and so my fellow americans ask")


def test_a_turn_gets_the_words_that_lie_in_it() -> None:
    """Exactly one text for each turn, also an empty one; a word counts by the share of it that lies inside."""
    turns = Turns([Turn(0, 2.2, "A"), Turn(2.3, 5.9, "B"), Turn(20, 21, "C")])
    texts = merge_by_turn([SEGMENT], turns)
    assert [(text.turn.speaker, text.text) for text in texts] == [
        ("A", "and so my fellow americans"),
        ("B", "ask not what your country can do"),
        ("C", ""),
    ]
    loose = merge_by_turn([SEGMENT], turns, 0.0)
    assert len(loose[1].words) > len(texts[1].words) or loose[1].in_range == len(loose[1].words)


def test_keep_words_gives_every_word_to_one_turn() -> None:
    """By the origin's rule words between turns are lost; by the other one none is, and none is there twice."""
    turns = Turns([Turn(0, 1.2, "A"), Turn(4.0, 5.9, "B"), Turn(4.2, 5.0, "C")])
    kept = [word for text in merge_by_turn([SEGMENT], turns, keep_all=True) for word in text.words]
    assert sorted(kept, key=lambda word: word.start) == list(SEGMENT.words)
    assert sum(len(text.words) for text in merge_by_turn([SEGMENT], turns)) != len(SEGMENT.words)


@pytest.mark.parametrize(
    "document",
    [
        {"speaker_segments": [{"start": 1, "end": 2, "speaker": "A"}]},
        {"segments": [{"start": 1, "end": 2, "label": "A"}]},
        [{"start": "00:00:01.000", "end": 2, "speaker": "A"}],
    ],
)
def test_shapes_of_diarization(document: object) -> None:
    """The shapes that nodes write are read alike."""
    assert turns_from_json(document) == [Turn(1.0, 2.0, "A")]


@pytest.mark.parametrize("document", [{}, {"segments": [{"start": 1, "end": 2}]}, [3], "x"])
def test_what_is_no_diarization_is_refused(document: object) -> None:
    """A list without speakers is an error, and not one without turns."""
    with pytest.raises(NotATranscript):
        turns_from_json(document)


def test_speech_segments_by_the_origins_rule() -> None:
    """Close ones are merged, short ones joined or dropped, long ones without words tagged, numbers left to the caller."""
    cues = [
        Cue(0, 2, "One.", "A"),
        Cue(2.5, 4, "Two.", "A"),
        Cue(4.2, 5, "Three.", "B"),
        Cue(30, 55, "Long.", "B"),
    ]
    prepared = prepare(cues, SpeechLengths())
    assert [(cue.text, cue.speaker) for cue in prepared] == [
        ("One. Two.", "A"),
        *((f"Long. [SPLIT {n}/3]", "B") for n in (1, 2, 3)),
    ]


def test_speech_segments_that_keep_every_word() -> None:
    """With keep_words nothing is dropped or said twice."""
    long = "This is a rather long thing to say. " * 6
    cues = [Cue(0, 1, "Short.", "A"), Cue(30, 55, long.strip(), "B")]
    prepared = prepare(cues, SpeechLengths(keep_words=True))
    assert " ".join(cue.text for cue in prepared).split() == f"Short. {long}".split()
    assert all(cue.duration <= 10 + 1e-6 for cue in prepared)
    assert all(cue.text.endswith(".") for cue in prepared)


def test_a_corrected_text_takes_the_times_of_its_words() -> None:
    """Words that stayed keep their times to the millisecond; a new one lies between its neighbours."""
    aligned = realign(SEGMENT.words, "And so, my fellow Americans: ask not what your great country can do!")
    times = {word.text.strip(" ,:!"): (word.start, word.end) for word in aligned.words}
    for word in SEGMENT.words[3:]:
        if word.text.strip() != "americans":
            assert times[word.text.strip()] == (word.start, word.end)
    assert times["your"][1] <= times["great"][0] <= times["great"][1] <= times["country"][0]
    assert aligned.ratio > 0.85


def test_chinese_is_aligned_by_characters() -> None:
    """Tokens of several characters share their time, and a corrected character takes its place."""
    tokens = (Word(0, 0.4, "我们"), Word(0.4, 0.8, "明天"), Word(1.0, 1.6, "去北京"))
    aligned = realign(tokens, "我们明天去东京。")
    assert "".join(word.text for word in aligned.words) == "我们明天去东京。"
    assert aligned.words[4].start == 1.0 and aligned.words[-1].end == pytest.approx(1.6)


def test_sentences_and_lines() -> None:
    """Abbreviations and initials end no sentence; long sentences are cut at commas; every word stays."""
    text = (
        "Dr. Smith met Mr. Jones at 5 p.m. in Berlin. 我们今天去北京。你呢？ Is it so? "
        "Yes, of course it is, and it always has been!"
    )
    sentences = split_sentences(text)
    assert sentences[0] == "Dr. Smith met Mr. Jones at 5 p.m. in Berlin."
    assert sentences[1:3] == ["我们今天去北京。", "你呢？"]
    lines = list(lines_of(text, 30))
    assert all(len(line) <= 30 for line in lines)
    assert "".join("".join(lines).split()) == "".join(text.split())
