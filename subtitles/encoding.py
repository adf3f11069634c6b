"""Which encoding a subtitle file is in: by its marks, as UTF-8, or as the old code page that makes most sense of it."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

from charset_normalizer import from_bytes

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Subtitles were made on Windows; without this limit DOS and Macintosh code pages win by chance.
_CANDIDATES = [
    "gb18030",
    "big5",
    "cp932",
    "cp949",
    "cp1250",
    "cp1251",
    "cp1252",
    "cp1253",
    "cp1254",
    "cp1255",
    "cp1256",
    "cp1257",
    "cp1258",
    "cp874",
]
_WIDE_ZEROS = 0.05
"""Share of zero bytes from which on a file is in UTF-16, whose times, numbers and line ends have them; fewer are damage."""
_SURROGATE = re.compile("[\ud800-\udfff]")
_LATIN_ALPHABETS = {
    "cp1252": (
        "àâæçéèêëîïôœùûüÿ«»’…",
        "äöüß„“",
        "áéíñóúü¿¡",
        "àáâãçéêíóôõú",
        "àèéìíîòóùú",
        "åäöæøé",
        "áðéíóúýþæö",
    ),
    "cp1250": ("ąćęłńóśźż", "áčďéěíňóřšťúůýž", "áäčďéíĺľňóôŕšťúýž", "áéíóöőúüű", "čćđšž", "ăâîşţ"),
    "cp1254": ("çğıöşüâî",),
    "cp1257": ("ąčęėįšųūž", "āčēģīķļņšūž", "äõöüšž"),
}
"""The letters beyond ASCII of the languages that each of these code pages was made for. A statistical guess confuses these pages
on the few accents of a subtitle file, while an alphabet either holds a letter or does not."""


@dataclass(frozen=True)
class Decoded:
    """A file's text, and the encoding that gave it."""

    text: str
    encoding: str
    replaced: int
    """Characters that could not be decoded and stand as U+FFFD."""


def decode(raw: bytes, encoding: str | None = None) -> Decoded:
    """Decode a subtitle file. Raises ValueError or LookupError only for an `encoding` that was asked for."""
    if encoding is not None:
        return _normal(_SURROGATE.sub("\ufffd", raw.decode(encoding)), encoding)
    for mark, name in _MARKS:
        if raw.startswith(mark):
            return _normal(raw.decode(name, errors="replace"), name)
    head = raw[:4096]
    if head.count(0) > _WIDE_ZEROS * len(head):
        return _wide(raw)
    try:
        return _normal(raw.decode("utf-8"), "utf-8")
    except UnicodeDecodeError:
        # A UTF-8 file that was cut or has one bad byte is still UTF-8: hardly any letter of a code page is a valid sequence.
        lenient = raw.decode("utf-8", errors="replace")
        bad = lenient.count("\ufffd")
        if bad * 4 <= sum("\x7f" < character != "\ufffd" for character in lenient):
            return _normal(lenient, "utf-8")
    name = _code_page(raw)
    return _normal(raw.decode(name, errors="replace"), name)


def _wide(raw: bytes) -> Decoded:
    """Decode UTF-16 without a mark: in times and line ends every other byte is zero."""
    head = raw[:4096]
    name = "utf-16-le" if head[1::2].count(0) >= head[0::2].count(0) else "utf-16-be"
    return _normal(raw.decode(name, errors="replace"), name)


def _code_page(raw: bytes) -> str:
    best = from_bytes(raw, cp_isolation=_CANDIDATES).best()
    found = best.encoding if best is not None else "cp1252"
    if found in _LATIN_ALPHABETS or found == "cp1258":
        return max(_LATIN_ALPHABETS, key=lambda page: _fit(raw, page))
    return found


def _fit(raw: bytes, page: str) -> float:
    """Share of the letters beyond ASCII that the best language of the page has."""
    letters = [character for character in raw.decode(page, errors="replace").lower() if character > "\x7f"]
    return max(sum(letter in alphabet for letter in letters) for alphabet in _LATIN_ALPHABETS[page])


def _normal(text: str, encoding: str) -> Decoded:
    text = text.removeprefix("\ufeff").replace("\x00", "").replace("\r\n", "\n").replace("\r", "\n")
    return Decoded(text, encoding, text.count("\ufffd"))
