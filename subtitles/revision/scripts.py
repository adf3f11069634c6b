"""Which script, and among a few languages of one script which language, a text is in."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from functools import lru_cache

_RANGES: tuple[tuple[str, int, int], ...] = (
    ("greek", 0x0370, 0x03FF),
    ("cyrillic", 0x0400, 0x052F),
    ("armenian", 0x0530, 0x058F),
    ("hebrew", 0x0590, 0x05FF),
    ("arabic", 0x0600, 0x077F),
    ("devanagari", 0x0900, 0x097F),
    ("bengali", 0x0980, 0x09FF),
    ("tamil", 0x0B80, 0x0BFF),
    ("thai", 0x0E00, 0x0E7F),
    ("georgian", 0x10A0, 0x10FF),
    ("hangul", 0x1100, 0x11FF),
    ("kana", 0x3040, 0x30FF),
    ("hangul", 0x3130, 0x318F),
    ("kana", 0x31F0, 0x31FF),
    ("han", 0x3400, 0x9FFF),
    ("hangul", 0xAC00, 0xD7AF),
    ("han", 0xF900, 0xFAFF),
    ("kana", 0xFF66, 0xFF9D),
    ("han", 0x20000, 0x3FFFF),
)
_SCRIPTS_OF = {
    "zh": {"han"}, "yue": {"han"}, "ja": {"kana", "han"}, "ko": {"hangul", "han"}, "ru": {"cyrillic"}, "uk": {"cyrillic"},
    "bg": {"cyrillic"}, "sr": {"cyrillic", "latin"}, "mk": {"cyrillic"}, "be": {"cyrillic"}, "kk": {"cyrillic", "latin"},
    "el": {"greek"}, "he": {"hebrew"}, "ar": {"arabic"}, "fa": {"arabic"}, "ur": {"arabic"}, "hi": {"devanagari"},
    "mr": {"devanagari"}, "ne": {"devanagari"}, "bn": {"bengali"}, "ta": {"tamil"}, "th": {"thai"}, "hy": {"armenian"},
    "ka": {"georgian"},
}  # fmt: skip
_WORDS = {
    "en": "the and of to is you that it he was for on are with his they be this have from not what all were we when your can "
    "there an "
    "she do my me her so will no if them would who him i'm don't it's",
    "de": "der die und das ist nicht ich du sie es ein eine zu den mit auf für von dem wir was im war so wie aber er hat auch "
    "an mir "
    "mich dich sich noch nur haben habe kann doch wenn als bei",
    "fr": "le la les de des et est un une que qui je tu il elle nous vous pas ne pour dans ce sur au avec en mais c'est plus du "
    "sont on "
    "se mon ma ça j'ai suis",
    "es": "el la los las de que y en un una es no se por con para su lo al me te pero como más del qué yo si está mi muy ya tu "
    "ha son",
    "it": "il la le gli di che e è un una non per si in con mi lo ma ti come da al sono del ho della cosa questo più hai ci se",
    "pt": "o a os as de que e é um uma não para com em se eu você por mas do da no na me mais isso como está ele ela foi meu minha",
    "nl": "de het een en van is ik je niet dat in wat te op zijn er maar met voor die hij ze we heb was als aan ook naar nog",
    "pl": "nie to się w na i z że jest do co jak tak mnie o ale po mi go był dla czy jestem ma tylko",
    "tr": "bir bu ve ne için mi da de ben sen çok var o ama daha gibi değil şey beni seni kadar",
    "sv": "och det att i en jag är på som för inte med du har den till vi av om han så men vad var",
    "vi": "là và của không có một tôi anh em cho được này người đã những các với thì ở",
    "id": "yang dan di itu aku kau tidak ini untuk dengan dia apa kita akan ada bisa saya ke",
}  # fmt: skip
_FREQUENT = {language: frozenset(words.split()) for language, words in _WORDS.items()}


@lru_cache(maxsize=16_384)
def script_of(character: str) -> str:
    """Return a letter's script; empty for what is no letter."""
    code = ord(character)
    if not character.isalpha():
        return ""
    for name, first, last in _RANGES:
        if first <= code <= last:
            return name
    return unicodedata.name(character, "OTHER").split()[0].lower()


def scripts_in(text: str) -> Counter[str]:
    """Return how many letters of each script a text has."""
    return Counter(script for character in text if (script := script_of(character)))


def main_script(text: str) -> str:
    """Return the script of most letters, Japanese kana and Han as one; empty without letters."""
    found = scripts_in(text)
    if found["kana"]:
        found["kana"] += found.pop("han", 0)
    return max(found, key=lambda name: found[name], default="")


def scripts_of_language(language: str) -> frozenset[str]:
    """Return the scripts that a language is written in; Latin where nothing else is known."""
    return frozenset(_SCRIPTS_OF.get(base_of(language), {"latin"}))


def base_of(language: str) -> str:
    """Return the code of a language without region and script: `zh` of `zh-Hans`, `pt` of `pt_BR`."""
    return re.split(r"[-_]", language.strip().lower())[0]


def fits_language(text: str, language: str) -> bool:
    """Whether a text's letters are mostly in the scripts of a language; names and signs in others may stand among them."""
    found, own = scripts_in(text), scripts_of_language(language)
    total = sum(found.values())
    inside = sum(count for name, count in found.items() if name in own)
    if base_of(language) == "ja" and found["han"] >= 12 and not found["kana"]:
        return False
    # A Han character says as much as three letters.
    weight = 3 if own & {"han", "kana", "hangul"} else 1
    return total == 0 or inside * weight >= total - inside


def frequent_words(text: str, language: str) -> int:
    """Return how many of a text's words are among the most frequent of a language; 0 for languages that are not known here."""
    frequent = _FREQUENT.get(base_of(language), frozenset())
    return sum(word in frequent for word in re.findall(r"[^\W\d_]+(?:['’][^\W\d_]+)?", text.casefold()))


def knows(language: str) -> bool:
    """Whether frequent words of a language are known."""
    return base_of(language) in _FREQUENT


def closest_language(text: str) -> str:
    """Return the language of a Latin text by its frequent words; empty when they tell none clearly."""
    if main_script(text) != "latin":
        return ""
    hits = sorted(((frequent_words(text, language), language) for language in _FREQUENT), reverse=True)
    return hits[0][1] if hits[0][0] >= 2 and hits[0][0] > hits[1][0] else ""
