"""Numbers in English."""

from __future__ import annotations

_SMALL = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen",
    "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = ["zero", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_GROUPS = ("", " thousand", " million", " billion", " trillion")
_ORDINALS = {
    "one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth", "twelve": "twelfth",
}  # fmt: skip
MAX_DIGITS = 15
"""Longer integers are read digit by digit."""


def digits(text: str) -> str:
    """Read digits one after the other."""
    return " ".join(_SMALL[int(sign)] for sign in text if sign.isdecimal())


def integer(number: int) -> str:
    """Return a number below 10^15 in words. Raises ValueError for others."""
    if number < 0:
        return "minus " + integer(-number)
    if number >= 10**MAX_DIGITS:
        raise ValueError("numbers of more than 15 digits have no words here")
    if number < 1000:
        return _below_thousand(number)
    words: list[str] = []
    for name in _GROUPS:
        number, group = divmod(number, 1000)
        if group:
            words.insert(0, _below_thousand(group) + name)
        if not number:
            break
    return " ".join(words)


def _below_thousand(number: int) -> str:
    if number < 20:
        return _SMALL[number]
    if number < 100:
        tens, ones = divmod(number, 10)
        return _TENS[tens] + (f"-{_SMALL[ones]}" if ones else "")
    hundreds, rest = divmod(number, 100)
    return f"{_SMALL[hundreds]} hundred" + (f" {_below_thousand(rest)}" if rest else "")


def ordinal(number: int) -> str:
    """Return `twenty-first` for 21."""
    words = integer(number)
    head, mark, last = words.rpartition("-" if "-" in words.split(" ")[-1] else " ")
    regular = last[:-1] + "ieth" if last.endswith("y") else last + "th"
    return head + mark + _ORDINALS.get(last, regular)


def year(number: int) -> str:
    """Return a year as years are said: 1905 `nineteen oh five`, 2000 `two thousand`, 2026 `twenty twenty-six`."""
    century, rest = divmod(number, 100)
    if not 1000 <= number <= 2999 or number % 1000 == 0 or 2000 < number < 2010:
        return integer(number)
    if rest == 0:
        return f"{integer(century)} hundred"
    return f"{integer(century)} {'oh ' + _SMALL[rest] if rest < 10 else integer(rest)}"


def decimal(text: str) -> str:
    """Read `1,234.50`, `-3` or `007`: a whole part in words, what is behind the point digit by digit."""
    text = text.replace(",", "")
    sign = ""
    if text[:1] in "+-−":
        sign, text = ("plus " if text[0] == "+" else "minus "), text[1:]
    whole, point, rest = text.partition(".")
    long = len(whole) > MAX_DIGITS or (len(whole) > 1 and whole.startswith("0"))
    words = digits(whole) if long else integer(int(whole or 0))
    return sign + words + (" point " + digits(rest) if point and rest else "")
