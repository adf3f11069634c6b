"""Words become cues: nothing is lost, nobody's words are mixed, and what comes out can be read."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from subtitles.cue import Cue, Word
from subtitles.line_breaking import break_lines
from subtitles.measure import CJK, LATIN, Limits, columns, is_cjk
from subtitles.readability import INVALID, count_kinds, find_violations
from subtitles.segmentation import segment
from subtitles.sentences import split_to_length
from subtitles.timing import settle

SENTENCES = (
    "The quick brown fox jumps over the lazy dog, and nobody minds. Why should they? It happens every day, "
    "in every typing school of the country. I asked my neighbour about it. She said that she had never seen a fox!"
)
CHINESE = "我们今天要去北京参加一个非常重要的会议，你准备好了吗？天气预报说明天会下雨，记得带伞。好的，谢谢你提醒我。"


def spoken(text: str, *, rate: float = 14.0, start: float = 0.0, speaker: str | None = None) -> Cue:
    """Return a segment whose words are spoken at so many letters a second."""
    words, clock = [], start
    pieces = list(text) if is_cjk(text) else [f" {word}" for word in text.split()]
    for piece in pieces:
        length = len(piece) / rate
        words.append(Word(round(clock, 3), round(clock + length * 0.9, 3), piece, 0.9, speaker))
        clock += length
    return Cue(start, clock, text, speaker, tuple(words))


def letters(cues: list[Cue]) -> str:
    return "".join("".join(cue.plain.split()) for cue in cues)


@pytest.mark.parametrize(("text", "rate", "limits"), [(SENTENCES, 14.0, LATIN), (CHINESE, 5.0, CJK)])
def test_ordinary_speech_breaks_no_limit(text: str, rate: float, limits: Limits) -> None:
    """Speech at an ordinary pace gives cues without a single violation, and every letter of it."""
    cjk = limits is CJK
    cues = settle(segment([spoken(text, rate=rate)]), limits, cjk=cjk)
    assert find_violations(cues, limits, cjk=cjk) == []
    assert letters(cues) == "".join(text.split())


def test_cues_end_where_sentences_do() -> None:
    """Most cues of ordinary prose end with a mark: readers are not left in the middle of a phrase."""
    cues = segment([spoken(SENTENCES)])
    ends = [cue.plain[-1] in ".,?!" for cue in cues]
    assert sum(ends) >= len(ends) - 1


def test_no_cue_crosses_a_pause_or_a_speaker() -> None:
    """A silence and a change of speaker part cues, whatever room there is."""
    first = spoken("And so it", speaker="A")
    second = spoken("was done.", start=first.end + 2, speaker="A")
    third = spoken("Indeed.", start=second.end, speaker="B")
    cues = segment([first, second, third])
    assert [(cue.plain, cue.speaker) for cue in cues] == [
        ("And so it", "A"),
        ("was done.", "A"),
        ("Indeed.", "B"),
    ]


def test_segments_without_word_times_are_shared_out() -> None:
    """A long segment without words is cut all the same, in proportion to its letters."""
    cues = segment([Cue(0, 20, SENTENCES)])
    assert letters(cues) == "".join(SENTENCES.split())
    assert cues[0].start == 0 and cues[-1].end == pytest.approx(20)
    assert all(columns(line, cjk=False) <= 42 for cue in cues for line in cue.text.split("\n"))


@given(
    st.lists(
        st.tuples(st.integers(1, 14), st.integers(50, 900), st.integers(0, 1500), st.integers(0, 2)),
        min_size=1,
        max_size=60,
    ),
    st.integers(0, 2**32),
)
def test_nothing_is_lost_and_everything_is_valid(rows: list[tuple[int, int, int, int]], seed: int) -> None:
    """Whatever the words' lengths, times, pauses and speakers: all letters come out in order, and no cue is invalid."""
    chooser = random.Random(seed)
    words, clock = [], 0.0
    for length, spoken_ms, pause_ms, speaker in rows:
        text = " " + "".join(chooser.choice("abcdefgh,.") for _ in range(length))
        words.append(Word(clock, clock + spoken_ms / 1000, text, None, f"S{speaker // 2}"))
        clock += (spoken_ms + (pause_ms if pause_ms > 700 else 0)) / 1000
    source = Cue(0.0, clock, "".join(word.text for word in words), words=tuple(words))
    cues = settle(segment([source]), LATIN, cjk=False)
    assert letters(cues) == "".join(source.text.split())
    kinds = count_kinds(find_violations(cues, LATIN, cjk=False))
    assert not set(kinds) & {kind.value for kind in INVALID}
    assert "line_too_long" not in kinds and "too_many_lines" not in kinds


def test_a_word_longer_than_a_line_stays_whole() -> None:
    """What cannot be broken is not: it has a line of its own."""
    word = "x" * 50
    assert break_lines(f"a {word} b", LATIN, cjk=False).split("\n") == ["a", word, "b"]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("I never said that you should come, but I am glad that you did", 2),
        ("short", 1),
        ("我们今天要去北京参加一个非常重要的会议，你准备好了吗", 2),
        ("用iPhone15拍的照片比OpenAI公司的GPT模型生成的好", 2),
    ],
)
def test_lines_are_few_balanced_and_start_with_no_mark(text: str, lines: int) -> None:
    """As few lines as hold the text; none begins with a comma, none tears a Latin word or number apart."""
    cjk = is_cjk(text)
    broken = break_lines(text, CJK if cjk else LATIN, cjk=cjk).split("\n")
    assert len(broken) == lines
    assert "".join(broken).replace(" ", "") == text.replace(" ", "")
    assert not any(line[0] in ",.，。？！" for line in broken)
    for whole in ("iPhone15", "OpenAI", "GPT"):
        assert whole not in text or any(whole in line for line in broken)


def test_ends_move_into_silence_and_never_over_the_next_cue() -> None:
    """A short cue is shown longer where there is room, and two frames of gap stay."""
    cues = settle(
        [Cue(1.0, 1.2, "Yes."), Cue(1.5, 3.0, "And no."), Cue(10.0, 10.1, "Bye.")], LATIN, cjk=False
    )
    assert cues[0].end == pytest.approx(1.5 - LATIN.min_gap_seconds, abs=0.002)
    assert cues[2].duration >= LATIN.min_seconds


def test_edges_snap_to_shot_changes() -> None:
    """A cue that ends just after a cut ends two frames before it, unless its words go on."""
    cut = 3.1
    words = (Word(1.0, 2.8, " word"),)
    (cue,) = settle([Cue(1.0, 2.9, "word", words=words)], LATIN, cjk=False, shot_changes=[cut])
    assert cue.end == pytest.approx(cut - LATIN.min_gap_seconds, abs=0.002)
    spoken_on = (Word(1.0, 3.4, " word"),)
    (cue,) = settle([Cue(1.0, 3.4, "word", words=spoken_on)], LATIN, cjk=False, shot_changes=[cut])
    assert cue.end >= 3.4


def test_people_who_talk_at_once_keep_their_sentences() -> None:
    """On channels of their own, two sentences at the same time are two cues and not a heap of words."""
    left = spoken("He began a confused complaint against the wizard.", speaker="CHANNEL_1")
    right = spoken("The horizon seems extremely distant.", start=0.1, speaker="CHANNEL_2")
    cues = settle(segment([left, right]), LATIN, cjk=False)
    assert [(cue.speaker, cue.plain.replace("\n", " ")) for cue in cues] == [
        ("CHANNEL_1", left.text),
        ("CHANNEL_2", right.text),
    ]
    assert cues[0].end >= left.words[-1].end


def test_a_character_is_not_parted_from_what_changes_it() -> None:
    """Variants, joined emoji and combining marks stay on the line of their character."""
    for tail in (
        "\u2615\ufe0f",
        "\u845b\U000e0100",
        "\u304b\u3099",
        "\u270b\U0001f3fd",
        "\u26f9\ufe0f\u200d\u2642\ufe0f",
    ):
        for lead in range(1, 17):
            text = "\u4f60" * lead + tail * 9
            for line in break_lines(text, CJK, cjk=True).split("\n"):
                assert line.lstrip("\u4f60") == tail * line.count(tail), (lead, line)


def test_a_film_without_a_mark_is_cut_to_length() -> None:
    """A text without spaces and marks is cut in time that grows with it alone, and nothing is lost."""
    text = "\u6211\u4eec\u4eca\u5929\u53bb" * 40_000
    pieces = split_to_length(text, 20)
    assert "".join(pieces) == text
    assert max(map(len, pieces)) <= 20
