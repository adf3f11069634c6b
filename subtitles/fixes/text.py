"""Text that was typed, scanned or heard wrongly in ways that a rule can tell."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Literal

from subtitles.fixes.change import Change, Kind, Numbered
from subtitles.fixes.spelling import mend_words
from subtitles.measure import is_cjk

ChineseScript = Literal["simplified", "traditional"]

_ENTITY = re.compile(r"&(?:#\d{1,7}|#x[0-9a-fA-F]{1,6}|[A-Za-z]{2,8});")
_CONTROL = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff]"
)
_MARKS_OF_DIRECTION = frozenset("\u200e\u200f\u202a\u202b\u202c\u2066\u2067\u2068\u2069")
"""What puts the punctuation of Hebrew and Arabic where it belongs; in other texts a leftover."""
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")
_FULL_WIDTH = re.compile(r"[\uff10-\uff19\uff21-\uff3a\uff41-\uff5a]")
_CJK_PUNCTUATION = {",": "，", "?": "？", "!": "！", ":": "：", ";": "；"}
_HALF_AFTER_CJK = re.compile(
    r"(?<=[\u3040-\u30ff\u4e00-\u9fff])\s*([,?!:;])(?=\s|[\u3040-\u30ff\u4e00-\u9fff\"”]|$)\s*"
)
_HALF_STOP = re.compile(
    r"(?<=[\u3040-\u30ff\u4e00-\u9fff])\.(?=\s*$|\s*[\u3040-\u30ff\u4e00-\u9fff])", re.MULTILINE
)
_SPACED_CJK = re.compile(r"(?<=[\u4e00-\u9fff])[ \u3000]+(?=[\u4e00-\u9fff，。！？、])")
_SPACES = re.compile(r"[ \t\u00a0]{2,}")
_SPACE_BEFORE = re.compile(r"(?<=\w) +(?=[,.!?;:](?:\s|$))")
# What scanners make of English: l for I, and a zero inside a word. Each pattern has only one reading.
_OCR_ENGLISH: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\bl(?='(?:m|ll|ve|d)\b)"), "I"),
    (re.compile(r"\bl(?=t'?s\b)"), "I"),
    (
        re.compile(
            r"(?<![\w'’])l(?= (?:am|was|have|had|will|would|can|could|do|did|don't|know|think|want|need|said|see)\b)"
        ),
        "I",
    ),
    (re.compile(r"\bl(?=(?:f|n|s|t) (?:the|a|you|it|he|she|we|they|this|that|there|my|your)\b)"), "I"),
    (re.compile(r"(?<=[a-z])0(?=[a-z])"), "o"),
    (re.compile(r"(?<=[A-Z])0(?=[A-Z])"), "O"),
    (re.compile(r"(?<=[a-z])\|(?=[a-z])"), "l"),
    (re.compile(r"(?<!\S)\|(?=['’]|\s)"), "I"),
)
TextFix = Callable[[str], str]


def fix_text(
    rows: Sequence[Numbered],
    *,
    language: str = "",
    script: ChineseScript | None = None,
    typos: Mapping[str, str] | None = None,
) -> tuple[list[Numbered], list[Change]]:
    """Return rows with their texts mended.

    `language` is a code like `en`; English alone has a table of scanning errors. `script` brings Chinese to one script. `typos`
    maps what is wrong to what is right: whole words where they begin or end with a letter of an alphabet, else anywhere.
    """
    steps = list(_steps(language, script, typos or {}))
    result, changes = [], []
    for row in rows:
        text = row.cue.text
        for kind, step in steps:
            mended = step(text)
            if mended != text:
                changes.append(Change(row.place, kind, text, mended))
                text = mended
        result.append(row if text == row.cue.text else replace(row, cue=row.cue.saying(text)))
    return result, changes


def _steps(
    language: str, script: ChineseScript | None, typos: Mapping[str, str]
) -> Iterator[tuple[Kind, TextFix]]:
    yield Kind.ENTITY, _without_entities
    yield Kind.CONTROL, _without_control
    yield Kind.WIDTH, _of_right_width
    yield Kind.SPACES, _with_single_spaces
    if script is not None:
        yield Kind.SCRIPT, _converter(script)
    if language.split("-")[0] == "en":
        yield Kind.TYPO, _without_scanning_errors
        yield Kind.TYPO, mend_words
    if typos:
        yield Kind.TYPO, _replacer(typos)


def _without_entities(text: str) -> str:
    # `<` and `>` stay as they are written: unescaped they could become tags.
    return _ENTITY.sub(
        lambda match: match[0] if html.unescape(match[0]) in "<>" else html.unescape(match[0]), text
    )


def _without_control(text: str) -> str:
    kept = _MARKS_OF_DIRECTION if _RIGHT_TO_LEFT.search(text) else frozenset()
    cleaned = _CONTROL.sub(lambda match: match[0] if match[0] in kept else "", text)
    return unicodedata.normalize("NFC", cleaned)


def _of_right_width(text: str) -> str:
    text = _FULL_WIDTH.sub(lambda match: unicodedata.normalize("NFKC", match[0]), text)
    if not is_cjk(text):
        return text.replace("\u3000", " ")
    text = _HALF_AFTER_CJK.sub(lambda match: _CJK_PUNCTUATION[match[1]], text)
    return _HALF_STOP.sub("。", text)


def _with_single_spaces(text: str) -> str:
    lines = (_SPACE_BEFORE.sub("", _SPACES.sub(" ", line)).strip() for line in text.split("\n"))
    return _SPACED_CJK.sub("", "\n".join(line for line in lines if line))


def _without_scanning_errors(text: str) -> str:
    for pattern, right in _OCR_ENGLISH:
        text = pattern.sub(right, text)
    return text


@lru_cache(maxsize=2)
def _converter(script: ChineseScript) -> TextFix:
    from opencc import OpenCC  # its dictionaries take a moment, and few files need them

    convert: TextFix = OpenCC("t2s" if script == "simplified" else "s2t").convert
    return convert


def _replacer(typos: Mapping[str, str]) -> TextFix:
    """Return one substitution for all typos, the longest first, so that none is mended twice."""
    parts = []
    for wrong in sorted(typos, key=len, reverse=True):
        before = r"(?<!\w)" if wrong[:1].isalnum() and not is_cjk(wrong) else ""
        after = r"(?!\w)" if wrong[-1:].isalnum() and not is_cjk(wrong) else ""
        parts.append(f"{before}{re.escape(wrong)}{after}")
    pattern = re.compile("|".join(parts))
    return lambda text: pattern.sub(lambda match: typos[match[0]], text)
