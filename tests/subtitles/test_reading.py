"""Subtitle files as people have them: every encoding, every form, and the damage that readers must survive."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from subtitles.clock import format_clock, parse_clock
from subtitles.cue import Cue, Word
from subtitles.encoding import decode
from subtitles.reading import Unreadable, parse_text, read_document
from subtitles.sentences import split_sentences
from subtitles.writing import WRITERS, AssStyle, to_ass, to_srt, to_vtt

SUBS = Path(__file__).parents[3] / "shared" / "media" / "subs"
SPEECH = {
    "gb18030": "他说：我们明天去北京。这是一个测试字幕，看看编码。谢谢大家的帮助，今天天气很好。",
    "big5": "這是一個測試字幕，看看編碼。今天天氣很好，我們去公園。你覺得怎麼樣？我不知道該說什麼。",
    "cp932": "これは字幕のテストです。明日は東京へ行きます。ありがとうございます。",
    "cp949": "이것은 자막 시험입니다. 내일 서울에 갑니다. 감사합니다.",
    "cp1250": "Příliš žluťoučký kůň úpěl ďábelské ódy. Zítra půjdeme domů.",
    "cp1251": "Это проверка субтитров. Завтра мы поедем в Москву.",
    "cp1252": "Voilà un essai très général, à côté de l’été déjà passé. Où êtes-vous, mon garçon?",
    "cp1253": "Αυτή είναι μια δοκιμή υποτίτλων. Αύριο πάμε σπίτι.",
    "cp1254": "Bu bir altyazı denemesidir. Yarın İstanbul’a gideceğiz, çok teşekkürler.",
    "cp1255": "זוהי בדיקה של כתוביות. מחר נלך הביתה.",
    "cp1256": "هذا اختبار للترجمة. غدا نذهب إلى البيت.",
    "cp1257": "Tai yra subtitrų bandymas. Rytoj važiuosime į Vilnių, ačiū už pagalbą, žmonės.",
    "cp874": "นี่คือการทดสอบคำบรรยาย พรุ่งนี้เราจะไปกรุงเทพ",
    "utf-8": "Voilà 字幕 Москва",
    "utf-8-sig": "Voilà 字幕 Москва",
    "utf-16": "Voilà 字幕 Москва",
    "utf-16-le": "Voilà 字幕 Москва",
    "utf-16-be": "Voilà 字幕 Москва",
}


def file_of(text: str, cues: int = 5) -> str:
    """Return an SRT that says the same a few times, as Windows writes it."""
    return "".join(f"{n}\r\n00:00:0{n},000 --> 00:00:0{n},900\r\n{text}\r\n\r\n" for n in range(1, cues + 1))


@pytest.mark.parametrize("encoding", SPEECH)
def test_encodings_are_told_by_what_they_say(encoding: str) -> None:
    """The bytes of a file in any of the encodings that subtitles come in give back its text, without being told which."""
    decoded = decode(file_of(SPEECH[encoding]).encode(encoding))
    assert SPEECH[encoding] in decoded.text, decoded.encoding
    assert decoded.replaced == 0


@pytest.mark.skipif(not SUBS.exists(), reason="the shared clips are not beside the repository")
@pytest.mark.parametrize(("name", "cues"), [("windows-1250", 1132), ("windows-1251", 595)])
def test_real_files_of_old_code_pages(name: str, cues: int) -> None:
    """Two real films' subtitles are read whole."""
    document = read_document(SUBS / f"auto_detect_{name}.srt")
    assert (len(document.cues), document.encoding, document.replaced) == (
        cues,
        name.replace("windows-", "cp"),
        0,
    )


def test_one_bad_byte_does_not_make_a_file_another_encoding() -> None:
    """A UTF-8 file with one damaged letter is still read as UTF-8."""
    raw = file_of("Voilà, où êtes-vous?", 9).encode()
    place = raw.rindex("à".encode())
    decoded = decode(raw[: place + 1] + raw[place + 2 :])
    assert decoded.encoding == "utf-8"
    assert decoded.text.count("Voilà, où") == 8


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1\n00:00:01,000 --> 00:00:02,000\nOne\n2\n00:00:03,000 --> 00:00:04,000\nTwo\n", ["One", "Two"]),
        (
            "00:00:01.000 --> 00:00:02.000\nNo number\n\n00:00:03.5 --> 00:00:04.5\nTwo\n",
            ["No number", "Two"],
        ),
        (
            "1\n00:00:01,000 --> 00:00:02,000\n\nBlank first\n\n\n2\n00:00:03,000 --> 00:00:04,000\n7\n",
            ["Blank first", "7"],
        ),
        ("1\n00:00:01,000->00:00:02,000\nShort arrow\n", ["Short arrow"]),
        ("1\n0:0:1,0 --> 0:0:2,0\nShort fields\n", ["Short fields"]),
        ("1\n00:00:01,000 --> 00:00:02,000 X1:100 X2:200 Y1:1 Y2:2\nPlaced\n", ["Placed"]),
        ("junk\n\n1\n00:00:01,000 --> 00:00:02,000\nAfter junk\n", ["After junk"]),
        (
            "1\n00:00:01,000 --> 00:00:02,000\nA\n\nB after a blank line\n\n2\n00:00:03,000 --> 00:00:04,000\nC\n",
            ["A\nB after a blank line", "C"],
        ),
    ],
)
def test_damaged_srt_keeps_its_words(text: str, expected: list[str]) -> None:
    """Missing numbers, blank lines, short arrows and stray words cost no text."""
    assert [cue.text for cue in parse_text(text)] == expected


def test_times_are_read_as_they_stand() -> None:
    """Negative, reversed and hundred-hour times are what the file says: mending is another step."""
    cues = parse_text("1\n-00:00:01,000 --> 00:00:01,000\nA\n\n2\n123:00:05,000 --> 123:00:04,000\nB\n")
    assert [(cue.start, cue.end) for cue in cues] == [(-1.0, 1.0), (442805.0, 442804.0)]


def test_webvtt_notes_and_identifiers_are_no_text() -> None:
    """Notes, styles, cue identifiers and settings stay out; voices become speakers, entities letters."""
    text = (
        "WEBVTT Kind: captions\n\nNOTE\nnot text\n\nSTYLE\n::cue {}\n\nintro\n00:01.000 --> 00:02.000 align:left\n"
        "<v Ann>Fish &amp; <c.loud>chips</c>\n\nNOTE later\n\n00:03.000 --> 00:04.000\n<00:03.500>karaoke\n"
    )
    assert [(cue.speaker, cue.text) for cue in parse_text(text)] == [
        ("Ann", "Fish & chips"),
        (None, "karaoke"),
    ]


@pytest.mark.parametrize(
    "text", ["just words\nand more", '{"segments": 3}', '{"a": [}', "[Script Info]\nno events"]
)
def test_what_is_no_subtitle_is_refused(text: str) -> None:
    """A file in no known form is an error and not a film without words."""
    with pytest.raises(Unreadable):
        parse_text(text)


CUES = [
    Cue(1.0, 2.5, "Plain & <i>slanted</i>"),
    Cue(3.0, 4.25, "Two\nlines"),
    Cue(3600.5, 3601.0, "An hour, {braces} and back\\slash"),
]


@pytest.mark.parametrize("form", ["srt", "vtt", "ass", "ttml"])
def test_every_form_comes_back_as_it_went(form: str) -> None:
    """What is written is read again with the same text and times (ASS to a hundredth, TTML without slanted letters)."""
    again = parse_text(WRITERS[form](CUES))
    plain = form == "ttml"
    wanted = [(cue.start, cue.end, cue.plain if plain else cue.text) for cue in CUES]
    if form == "ass":
        wanted[2] = (wanted[2][0], wanted[2][1], "An hour, \\ and back\\slash")
    assert [(cue.start, cue.end, cue.text) for cue in again][:2] == wanted[:2]
    assert again[2].start == 3600.5


@given(
    st.lists(
        st.tuples(st.integers(0, 10**7), st.integers(1, 10**5), st.text("ab č字\n<i>&", max_size=20)),
        max_size=8,
    )
)
def test_srt_and_vtt_keep_times_whatever_the_text(rows: list[tuple[int, int, str]]) -> None:
    """No text that a cue may have ends it early or swallows the next one."""
    cues = [Cue(start / 1000, (start + length) / 1000, text or "x") for start, length, text in rows]
    for write in (to_srt, to_vtt):
        text = write(cues)
        assert [(cue.start, cue.end) for cue in (parse_text(text) if cues else [])] == [
            (cue.start, cue.end) for cue in cues
        ]


def test_karaoke_syllables_fill_the_cue() -> None:
    """Words light up at their times: pauses are syllables of their own, line breaks stand behind the right word."""
    words = (Word(1.0, 1.4, " Hello"), Word(1.6, 2.0, " there,"), Word(2.0, 2.5, " friend"))
    cue = Cue(0.9, 3.0, "Hello there,\nfriend", words=words)
    text = to_ass([cue], AssStyle(karaoke=True)).splitlines()[-1]
    assert text.endswith(r"{\k10}{\kf40} Hello{\k20}{\kf40} there,\N{\kf50} friend")


def test_a_speaker_has_a_colour_and_a_name_in_ass() -> None:
    """Each speaker has a style; a comma in a name does not shift the fields."""
    text = to_ass([Cue(0, 1, "a", "Ann, Lee"), Cue(1, 2, "b", "Bob")])
    assert "Style: Default," in text and "Style: Speaker2," in text
    assert [cue.text for cue in parse_text(text)] == ["a", "b"]


@pytest.mark.parametrize("text", ["", "abc", "1:2", "00:00:00,000x", "::"])
def test_no_time_is_none(text: str) -> None:
    """What is no time is not taken for one."""
    assert parse_clock(text) is None or text == "1:2"


@given(st.integers(0, 400 * 3600 * 1000))
def test_clocks_come_back(value: int) -> None:
    """Every whole millisecond up to 400 hours is written and read as itself."""
    assert parse_clock(format_clock(value / 1000)) == pytest.approx(value / 1000, abs=1e-9)


@pytest.mark.parametrize("value", [1e308, 1.7e308, -1e300, 10**400, "99999999999:00:00"])
def test_times_beyond_all_films_are_none(value: object) -> None:
    """A number that no clock can show is no time; it does not reach the writers, where it would overflow."""
    with pytest.raises(Unreadable):
        parse_text(json.dumps([{"start": value, "end": value, "text": "x"}]))


def test_lines_of_nothing_but_marks_are_read_at_once() -> None:
    """Work grows with the length of a text and not with its square: a hundred thousand marks take no time to speak of."""
    dots = "." * 100_000 + "x"
    assert split_sentences(dots) == [dots]
    (cue,) = parse_text(f"WEBVTT\n\n00:01.000 --> 00:02.000\n{'<c.' * 100_000}\n")
    assert cue.start == 1.0


def test_braces_that_are_text_come_back_from_ass() -> None:
    """What `to_ass` writes of braces and backslashes is read again as it was: no word between braces is lost."""
    for text in ("{not a tag}", "a {b} c", "C:\\new", "{", "a } b"):
        assert [cue.text for cue in parse_text(to_ass([Cue(0, 1, text)]))] == [text]


def test_a_number_that_is_said_is_no_number_of_a_cue() -> None:
    """A countdown in WebVTT, or in an SRT without numbers, keeps its words; numbers of cues are none, blank line or not."""
    count = [Cue(place, place + 1, text) for place, text in enumerate(["How many?\n7", "3", "2", "1", "Go!"])]
    assert [cue.text for cue in parse_text(to_vtt(count))] == [cue.text for cue in count]
    assert [cue.text for cue in parse_text(to_srt(count))] == [cue.text for cue in count]
    bare = "\n".join(line for line in to_vtt(count).split("\n")[2:])
    assert [cue.text for cue in parse_text(bare)] == [cue.text for cue in count]
    spaced = "1\n\n00:00:01,000 --> 00:00:02,000\n\nOne\n\n2\n\n00:00:03,000 --> 00:00:04,000\n\nTwo\n"
    assert [cue.text for cue in parse_text(spaced)] == ["One", "Two"]


HOSTILE = "Hello\r\n\r\n2\r\n00:00:05,000 --> 00:00:06,000\r\n00:07 -> 00:08\r\nIn\x00ject\x1bed\u2028or not"
SAID = "Hello\n2\n00:00:05,000 --> 00:00:06,000\n00:07 -> 00:08\nInjected or not"


@pytest.mark.parametrize("form", ["srt", "vtt", "ass", "ttml"])
def test_a_text_cannot_end_its_cue(form: str) -> None:
    """Time lines, line ends of every kind and control characters in a text or a speaker's name make no cue and break no file."""
    cues = [Cue(1, 2, HOSTILE, "A\nDialogue: 0,0:00:00.00,0:00:09.00,Default,,0,0,0,,no"), Cue(7, 8, "Next")]
    read = parse_text(WRITERS[form](cues))
    assert [(cue.start, cue.end) for cue in read] == [(1, 2), (7, 8)]
    assert [line for line in read[0].text.split("\n") if line] == SAID.split("\n")


def test_a_zero_byte_is_damage_and_no_encoding(tmp_path: Path) -> None:
    """A few zero bytes in a file do not make UTF-16 of it."""
    path = tmp_path / "zero.srt"
    path.write_bytes(file_of("He\x00llo, my friend.").encode())
    document = read_document(path)
    assert (document.encoding, document.cues[0].text) == ("utf-8", "Hello, my friend.")


@pytest.mark.parametrize("encoding", ["undefined", "idna", "utf\x008", "zlib_codec", "no such"])
def test_an_encoding_that_is_none_is_refused(tmp_path: Path, encoding: str) -> None:
    """Whatever an encoding's name is, the file is read or refused in words."""
    path = tmp_path / "one.srt"
    path.write_bytes(file_of("caf\xe9").encode("cp1252"))
    with pytest.raises(Unreadable, match="it is not"):
        read_document(path, encoding)


def test_what_an_encoding_makes_of_bytes_can_be_written_again(tmp_path: Path) -> None:
    """Halves of characters, which some encodings let through, are counted as not decoded."""
    path = tmp_path / "half.srt"
    path.write_bytes(file_of(r"Hello \ud800").encode())
    document = read_document(path, "unicode_escape")
    assert document.replaced == 5
    to_srt(document.cues).encode()


def test_microdvd_tells_its_frame_rate() -> None:
    """Frames are counted at the rate that the first line tells, which is no cue."""
    (cue,) = parse_text("{1}{1}23.976\n{240}{480}Hello|there\n")
    assert (round(cue.start, 2), round(cue.end, 2), cue.text) == (10.01, 20.02, "Hello\nthere")
