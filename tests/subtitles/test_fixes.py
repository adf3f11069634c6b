"""Damage of every kind, alone and mixed, is mended without losing a word; good files are left as they are."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from subtitles.cue import Cue
from subtitles.fixes.change import Kind, count_changes
from subtitles.fixes.repair import Repair, repair
from subtitles.measure import LATIN
from subtitles.readability import INVALID, find_violations
from subtitles.reading import read_document
from subtitles.retiming import Retiming, retime

SUBS = Path(__file__).parents[3] / "shared" / "media" / "subs"
GOOD = [Cue(float(n * 4), n * 4 + 2.5, f"This is line number {n}.") for n in range(40)]


def invalid(cues: list[Cue]) -> list[str]:
    return [str(finding) for finding in find_violations(cues, LATIN, cjk=False) if finding.kind in INVALID]


def words_of(cues: list[Cue]) -> Counter[str]:
    return Counter(word for cue in cues for word in cue.plain.split())


def test_a_good_file_is_left_alone() -> None:
    """Nothing is changed where nothing is wrong."""
    assert repair(GOOD) == (GOOD, [])


Damage = Callable[[Cue], Cue]
DAMAGES: dict[Kind, Damage] = {
    Kind.NEGATIVE_TIME: lambda cue: cue.at(cue.start - 12.5, cue.end),
    Kind.ABSURD_TIME: lambda cue: cue.at(cue.start + 360_000, cue.end + 360_000),
    Kind.NO_DURATION: lambda cue: cue.at(cue.start, cue.start),
    Kind.OVERLAP: lambda cue: cue.at(cue.start, cue.end + 3),
    Kind.TOO_LONG: lambda cue: cue.at(cue.start, cue.start + 900),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_each_damage_is_found_by_its_name_and_mended(kind: Kind) -> None:
    """One damaged cue among good ones: the report names the damage, every word is there, no cue is invalid."""
    place = 3 if kind is Kind.NEGATIVE_TIME else 20
    damaged = [DAMAGES[kind](cue) if number == place else cue for number, cue in enumerate(GOOD)]
    mended, changes = repair(damaged)
    assert kind.value in count_changes(changes)
    assert invalid(mended) == []
    assert words_of(mended) == words_of(GOOD)
    assert [cue.plain for cue in mended] == [cue.plain for cue in GOOD]


def test_swapped_cues_come_back_in_order() -> None:
    """Two cues in the wrong places are put right by their times."""
    damaged = [*GOOD[:10], GOOD[11], GOOD[10], *GOOD[12:]]
    mended, changes = repair(damaged)
    assert mended == GOOD
    assert count_changes(changes) == {"reordered": 1}


def test_repeats_become_one_cue() -> None:
    """A line that was cut into touching cues is one cue, as long as all of them."""
    cues = [Cue(1, 2, "Same."), Cue(2, 3, "Same."), Cue(3.1, 4, "Same."), Cue(9, 10, "Same.")]
    mended, changes = repair(cues)
    assert [(cue.start, cue.end) for cue in mended] == [(1, 4), (9, 10)]
    assert count_changes(changes) == {"duplicate": 2}


def test_two_cues_at_one_time_are_one_with_both_texts() -> None:
    """Cues that begin together are shown together; neither text is lost."""
    mended, _ = repair([Cue(1, 3, "Hello."), Cue(1, 3, "Goodbye.")])
    assert [cue.text for cue in mended] == ["Hello.\nGoodbye."]


@pytest.mark.parametrize(
    ("before", "after", "options"),
    [
        ("Ｈｅｌｌｏ　１２３", "Hello 123", Repair()),
        ("你好,今天天气很好.", "你好，今天天气很好。", Repair()),
        ("价格是3.5元", "价格是3.5元", Repair()),
        ("我 们 走", "我们走", Repair()),
        ("Fish &amp; chips &lt;b&gt;", "Fish & chips &lt;b&gt;", Repair()),
        ("a\u200bb\ufeffc", "abc", Repair()),
        ("Too   many  spaces .", "Too many spaces.", Repair()),
        ("l'm sure lt's g0od", "I'm sure It's good", Repair(language="en")),
        ("all well, the ill will", "all well, the ill will", Repair(language="en")),
        ("l'homme", "l'homme", Repair(language="fr")),
        ("漢語字幕", "汉语字幕", Repair(script="simplified")),
        ("汉语字幕", "漢語字幕", Repair(script="traditional")),
        ("teh cat, tehran", "the cat, tehran", Repair(typos={"teh": "the"})),
        ("他门去了", "他们去了", Repair(typos={"他门": "他们"})),
    ],
)
def test_texts_are_mended_by_rule(before: str, after: str, options: Repair) -> None:
    """Each rule changes what it is for and nothing that only looks like it."""
    (cue,), _ = repair([Cue(0, 5, before)], options)
    assert cue.text == after


def test_a_lost_letter_joins_its_neighbour() -> None:
    """A single letter of a torn word goes to the cue that it belongs to; an answer of one letter stays."""
    mended, changes = repair([Cue(0, 1, "Wha"), Cue(1.1, 1.3, "t"), Cue(5, 6, "I"), Cue(8, 9, "see.")])
    assert [cue.text for cue in mended] == ["Wha t", "I", "see."]
    assert count_changes(changes) == {"fragment": 1}


@pytest.mark.skipif(not SUBS.exists(), reason="the shared clips are not beside the repository")
@pytest.mark.parametrize("name", ["windows-1250", "windows-1251"])
@pytest.mark.parametrize("seed", range(3))
def test_mixed_damage_loses_no_word(name: str, seed: int) -> None:
    """A real film's subtitles, every ninth cue damaged in a way of its own: all words come back, no cue is invalid."""
    cues = read_document(SUBS / f"auto_detect_{name}.srt").cues
    clean, _ = repair(cues)
    chooser, damaged = random.Random(seed), list(cues)
    ways = list(DAMAGES.values())
    for place in range(0, len(damaged) - 1, 9):
        way = chooser.randrange(len(ways) + 1)
        if way < len(ways):
            damaged[place] = ways[way](damaged[place])
        else:
            damaged[place], damaged[place + 1] = damaged[place + 1], damaged[place]
    mended, _ = repair(damaged)
    assert invalid(mended) == []
    assert words_of(mended) == words_of(clean)


def test_retiming_is_exact() -> None:
    """From 25 to 23.976 frames a second and half a second later: new time = time x rate + offset, in whole milliseconds."""
    (cue,) = retime([Cue(100.0, 102.0, "x")], Retiming(25 / 23.976, 0.5))
    assert (cue.start, cue.end) == (104.771, 106.856)


def signs_behind(cues: list[Cue]) -> list[Cue]:
    return [*cues, *(Cue(place * 200 + 3.5, place * 200 + 4.9, f"SIGN {place}") for place in range(12))]


ORDERS: dict[str, Callable[[list[Cue]], list[Cue]]] = {
    "backwards": lambda cues: cues[::-1],
    "second half first": lambda cues: [*cues[250:], *cues[:250]],
    "signs behind": signs_behind,
    "by text": lambda cues: sorted(cues, key=lambda cue: cue.text[::-1]),
}


@pytest.mark.parametrize("order", ORDERS)
def test_a_file_in_another_order_keeps_its_times(order: str) -> None:
    """A sound file that is not sorted by time (ASS files have signs behind the speech) is sorted; no time is changed."""
    cues = ORDERS[order]([Cue(place * 5.0, place * 5.0 + 3, f"Line {place}.") for place in range(500)])
    mended, changes = repair(cues)
    assert {(cue.start, cue.text) for cue in mended} == {(cue.start, cue.text) for cue in cues}
    assert set(count_changes(changes)) == {"reordered"}


def test_a_time_that_is_there_again_and_again_moves_no_other() -> None:
    """Cues whose time was lost (all at zero) go to their places in the file; those with a time stay at it."""
    cues = [Cue(place * 5.0, place * 5.0 + 3, f"Line {place}.") for place in range(400)]
    damaged = [cue.at(0.0, cue.end) if place % 2 else cue for place, cue in enumerate(cues)]
    mended, _ = repair(damaged)
    at = {cue.text: cue.start for cue in mended}
    assert all(at[cue.text] == cue.start for cue in cues[100::2])
    assert words_of(mended) == words_of(cues)


def test_marks_of_direction_stay_where_the_text_runs_to_the_left() -> None:
    """What puts the punctuation of Hebrew and Arabic where it belongs stays; the same in English is a leftover."""
    hebrew, english = (
        Cue(1, 3, "\u202b\u05e9\u05dc\u05d5\u05dd!\u202c\u200f"),
        Cue(4, 6, "\u202aHello there!\u202c"),
    )
    mended, _ = repair([hebrew, english])
    assert [cue.text for cue in mended] == [hebrew.text, "Hello there!"]


def test_a_book_in_one_cue_is_mended_in_no_time_at_all() -> None:
    """The work grows with a cue's text, not with its square: 20,000 words are lines, all of them there."""
    book = Cue(1, 60, " ".join(f"word{place}" for place in range(20_000)))
    mended, _ = repair([book])
    assert words_of(mended) == words_of([book])
    assert max(map(len, mended[0].text.split("\n"))) <= 42
