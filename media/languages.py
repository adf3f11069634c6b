"""What containers call languages."""

from __future__ import annotations

_THREE_LETTERS = {
    "ar": "ara", "bg": "bul", "bn": "ben", "ca": "cat", "cs": "ces", "da": "dan", "de": "deu", "el": "ell", "en": "eng",
    "es": "spa", "et": "est", "eu": "eus", "fa": "fas", "fi": "fin", "fr": "fra", "ga": "gle", "gl": "glg", "he": "heb",
    "hi": "hin", "hr": "hrv", "hu": "hun", "hy": "hye", "id": "ind", "is": "isl", "it": "ita", "ja": "jpn", "ka": "kat",
    "kk": "kaz", "ko": "kor", "lt": "lit", "lv": "lav", "mk": "mkd", "mr": "mar", "ms": "msa", "nb": "nob", "ne": "nep",
    "nl": "nld", "no": "nor", "pl": "pol", "pt": "por", "ro": "ron", "ru": "rus", "sk": "slk", "sl": "slv", "sq": "sqi",
    "sr": "srp", "sv": "swe", "sw": "swa", "ta": "tam", "te": "tel", "th": "tha", "tl": "tgl", "tr": "tur", "uk": "ukr",
    "ur": "urd", "vi": "vie", "yue": "yue", "zh": "zho",
}  # fmt: skip
_BIBLIOGRAPHIC = {
    "ces": "cze", "deu": "ger", "ell": "gre", "eus": "baq", "fas": "per", "fra": "fre", "hye": "arm", "isl": "ice", "kat": "geo",
    "mkd": "mac", "msa": "may", "nld": "dut", "ron": "rum", "slk": "slo", "sqi": "alb", "zho": "chi",
}  # fmt: skip
"""ISO 639-2 has two codes for these; Matroska takes the one for libraries, MP4 the other."""
_TERMINOLOGIC = {library: term for term, library in _BIBLIOGRAPHIC.items()}


def language_code(language: str, container: str) -> str:
    """Return the three letters by which a container calls a language: for `de` it is `ger` in Matroska and `deu` in MP4."""
    base = language.replace("_", "-").split("-")[0].lower()
    term = _TERMINOLOGIC.get(base, _THREE_LETTERS.get(base, base if len(base) == 3 else "und"))
    return _BIBLIOGRAPHIC.get(term, term) if container == "mkv" else term
