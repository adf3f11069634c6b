"""Languages that can be asked for, and who reads them."""

from __future__ import annotations

from typing import Literal, get_args

OwnLanguage = Literal["zh", "en", "ja", "de", "fr", "es", "it", "pt", "nl"]
OtherLanguage = Literal["ru", "uk", "bg", "sr", "ko", "ar", "hi", "th", "vi", "el", "he"]
Language = Literal["auto"] | OwnLanguage | OtherLanguage

OWN_LANGUAGES = frozenset(get_args(OwnLanguage))
"""Read by RapidOCR, whatever is installed."""
_RECOGNISERS: tuple[tuple[str, str], ...] = (
    ("PP-OCRv6", "zh en ja de fr es it pt nl"),
    ("PP-OCRv5", "zh en ja"),
    ("PP-OCR", "zh en"),
    ("ch_", "zh en"),
    ("chinese_cht_", "zh en"),
    ("japan_", "ja en"),
    ("en_", "en"),
    ("latin_", "en de fr es it pt nl"),
    ("eslav_", "ru uk en"),
    ("cyrillic_", "ru uk bg sr en"),
    ("korean_", "ko en"),
    ("arabic_", "ar en"),
    ("devanagari_", "hi en"),
    ("th_", "th en"),
    ("el_", "el en"),
)
"""How the names of PaddleOCR's recognisers begin, and which of our languages those were trained on; the first that fits counts."""
TESSERACT_NAMES: dict[str, str] = {
    "ru": "rus",
    "uk": "ukr",
    "bg": "bul",
    "sr": "srp",
    "ko": "kor",
    "ar": "ara",
    "hi": "hin",
    "th": "tha",
    "vi": "vie",
    "el": "ell",
    "he": "heb",
}
"""Read by Tesseract, where this is installed."""
SCRIPTS: dict[str, str] = {
    "rus": "CYRILLIC",
    "kor": "HANGUL",
    "ara": "ARABIC",
    "hin": "DEVANAGARI",
    "tha": "THAI",
    "ell": "GREEK",
    "heb": "HEBREW",
}
"""What is tried when no language is asked for: the script that a language's letters must be of, by Unicode's names."""


def languages_of_recogniser(name: str) -> frozenset[str]:
    """Return the languages that a recogniser of PaddleOCR reads, by its name; none where that says nothing."""
    said = next((languages for start, languages in _RECOGNISERS if name.startswith(start)), "")
    return frozenset(said.split())
