"""What is written in figures and signs is said as readers say it; what cannot be said is left out."""

from __future__ import annotations

import pytest

from services.tts.text.chinese import by_value, read_figures
from services.tts.text.runs import clean, is_speakable, sentences, split_runs, tell_language


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("2026年11月29日", "二零二六年十一月二十九日"),
        ("2026-11-29", "二零二六年十一月二十九日"),
        ("二〇二六年", "二零二六年"),
        ("98年出生", "九八年出生"),
        ("住了3年前的房子", "住了三年前的房子"),
        ("7:05开会，8:00结束", "七点零五分开会，八点整结束"),
        ("12:30:15", "十二点三十分十五秒"),
        ("3.5%", "百分之三点五"),
        ("-5℃", "负五摄氏度"),
        ("¥1,280", "一千二百八十元"),
        ("$2万", "两万美元"),
        ("1/3的人", "三分之一的人"),
        ("3-5天", "三到五天"),
        ("2个苹果，12个梨", "两个苹果，十二个梨"),
        ("2月2日", "二月二日"),
        ("13812345678", "幺三八，幺二三四，五六七八"),
        ("010-12345678", "零幺零，幺二三四五六七八"),
        ("房号007", "房号零零七"),
        ("5km", "五公里"),
        ("60km/h", "六十公里每小时"),
        ("2kg", "两公斤"),
        ("105", "一百零五"),
        ("10010", "一万零一十"),
        ("15人", "十五人"),
        ("0.05", "零点零五"),
        ("3+4=7", "三加四等于七"),
        ("没有数字", "没有数字"),
        ("１２３", "一百二十三"),
    ],
)
def test_chinese_figures(written: str, said: str) -> None:
    """Each kind of figure in Chinese text has one right reading."""
    assert read_figures(written) == said


def test_numbers_too_long_to_have_a_name_are_read_by_digit() -> None:
    """Nothing that is a number fails."""
    assert by_value("12345678901234567890") == "一二三四五六七八九零一二三四五六七八九零"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Hello 🙂 there 👩‍👩‍👧!", "Hello there !"),
        ("<speak>Hi <b>you</b></speak>", "Hi you"),
        ("see https://www.example.com/a-b?x=1 now", "see example dot com slash a dash b now"),
        ("**bold** _and_ `code`", "bold and code"),
        ("a\x00b\u200bc", "a b c"),
        ("one\n\ntwo", "one\n\ntwo"),
    ],
)
def test_what_nobody_says_is_left_out(text: str, left: str) -> None:
    """Emoji, tags, markup and control characters are not spoken, addresses are."""
    assert clean(text) == left


@pytest.mark.parametrize(
    ("text", "speakable"),
    [("...", False), ("🙂", False), ("", False), ("a", True), ("5", True), ("你", True)],
)
def test_what_can_be_spoken(text: str, speakable: bool) -> None:
    """A text without a letter or a digit has nothing to say."""
    assert is_speakable(clean(text)) is speakable


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Hello", "en"),
        ("你好", "zh"),
        ("我们用iPhone拍视频", "zh"),
        ("これは字幕です", "ja"),
        ("The word 你好 means hello", "en"),
    ],
)
def test_languages_are_told_by_script(text: str, language: str) -> None:
    """Most of the letters decide."""
    assert tell_language(text) == language


def test_mixed_text_is_split_into_runs() -> None:
    """English words in Chinese are runs of their own; nothing is lost."""
    assert list(split_runs("我们用iPhone拍了OpenAI的Sam Altman")) == [
        (False, "我们用"), (True, "iPhone"), (False, "拍了"), (True, "OpenAI"), (False, "的"), (True, "Sam Altman"),
    ]  # fmt: skip


def test_long_texts_become_sentences_that_no_engine_cuts_off() -> None:
    """Every word is in one sentence, none longer than an engine takes; paragraphs end where lines do."""
    text = "First one. Second one, which is long, " + "and goes on, " * 40 + "until here.\nNew paragraph."
    found = list(sentences(text))
    assert "".join("".join(sentence for sentence, _ in found).split()) == "".join(text.split())
    assert max(len(sentence) for sentence, _ in found) <= 200
    assert [sentence for sentence, ends in found if ends] == [found[-2][0], "New paragraph."]
