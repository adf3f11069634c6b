"""Languages that can be asked for, and who reads them."""

from __future__ import annotations

from typing import Literal, get_args

OwnLanguage = Literal["zh", "en", "ja", "de", "fr", "es", "it", "pt", "nl"]
OtherLanguage = Literal["ru", "uk", "bg", "sr", "ko", "ar", "hi", "th", "vi", "el", "he"]
Language = Literal["auto"] | OwnLanguage | OtherLanguage

OWN_LANGUAGES = frozenset(get_args(OwnLanguage))
"""Read by RapidOCR, whatever is installed."""
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
