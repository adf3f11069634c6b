"""A text in runs of one script: what mixes Chinese and English is spoken by two readers, each its own part."""

from __future__ import annotations

import re
from collections.abc import Iterator

from subtitles.measure import is_cjk
from subtitles.sentences import lines_of

_HAN = re.compile(r"[\u3400-\u9fff]")
_KANA = re.compile(r"[\u3040-\u30ff]")
_LATIN_RUN = re.compile(r"[A-Za-z](?:[A-Za-z'’.&+\-]|\s+(?=[A-Za-z]))*[A-Za-z]|[A-Za-z]")
_TAG = re.compile(r"<[^<>]{1,200}>")
_EMOJI = re.compile("[\U0001f000-\U0001faff\u2600-\u27bf\ufe0e\ufe0f\u200d\U000e0020-\U000e007f\u20e3]")
_URL = re.compile(r"(?:https?://|www\.)[^\s，。]+", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")
MAX_SENTENCE = 200
"""Characters: a longer sentence is cut at its commas, so that no engine cuts it off."""
MAX_CJK_SENTENCE = 60


def clean(text: str) -> str:
    """Return what can be spoken of a text: no tags, emoji, control characters; addresses without what nobody says."""
    text = _CONTROL.sub(" ", _EMOJI.sub(" ", _TAG.sub(" ", text)))
    text = _URL.sub(lambda match: _said_address(match[0]), text)
    text = re.sub(r"[*_#`|~^]{1,}", " ", text)
    return re.sub(r"[^\S\n]+", " ", text).strip()


def _said_address(address: str) -> str:
    address = (
        re.sub(r"^https?://(?:www\.)?|^www\.", "", address, flags=re.IGNORECASE).split("?")[0].rstrip("/.")
    )
    return address.replace(".", " dot ").replace("/", " slash ").replace("-", " dash ")


def is_speakable(text: str) -> bool:
    """Whether a text has a letter or a digit."""
    return any(character.isalnum() for character in text)


def tell_language(text: str) -> str:
    """Return `zh`, `ja` or `en` by the script that a text is mostly in."""
    if len(_KANA.findall(text)) * 5 > len(_HAN.findall(text)) + len(_KANA.findall(text)):
        return "ja" if _KANA.search(text) else "en"
    return "zh" if is_cjk(text) and _HAN.search(text) else "en"


def split_runs(text: str) -> Iterator[tuple[bool, str]]:
    """Give a Chinese text's runs: (whether it is Latin, the run)."""
    place = 0
    for match in _LATIN_RUN.finditer(text):
        if before := text[place : match.start()].strip():
            yield False, before
        yield True, match[0]
        place = match.end()
    if rest := text[place:].strip():
        yield False, rest


def sentences(text: str) -> Iterator[tuple[str, bool]]:
    """Give a text's sentences, each with whether a paragraph ends behind it."""
    paragraphs = [line.strip() for line in text.split("\n") if is_speakable(line)]
    for paragraph in paragraphs:
        limit = MAX_CJK_SENTENCE if is_cjk(paragraph) else MAX_SENTENCE
        found = [line for line in lines_of(paragraph, limit) if is_speakable(line)]
        for number, sentence in enumerate(found, 1):
            yield sentence, number == len(found)
