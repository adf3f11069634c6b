"""Figures in English text, as they are said: numbers, dates, times, money, units, telephone numbers, versions."""

from __future__ import annotations

import re
from collections.abc import Callable
from re import Match

from services.tts.text.english_numbers import decimal, digits, integer, ordinal, year

_NUMBER = r"\d+(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?"
_MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
_MONTH = r"(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)[a-z]*\.?"
# Singular, plural.
_UNITS = {
    "km/h": ("kilometer per hour", "kilometers per hour"), "mph": ("mile per hour", "miles per hour"),
    "m/s": ("meter per second", "meters per second"), "kWh": ("kilowatt hour", "kilowatt hours"),
    "km²": ("square kilometer", "square kilometers"), "m²": ("square meter", "square meters"),
    "m³": ("cubic meter", "cubic meters"),
    "km": ("kilometer", "kilometers"), "cm": ("centimeter", "centimeters"), "mm": ("millimeter", "millimeters"),
    "kg": ("kilogram", "kilograms"), "mg": ("milligram", "milligrams"), "ml": ("milliliter", "milliliters"),
    "mL": ("milliliter", "milliliters"), "kHz": ("kilohertz", "kilohertz"), "MHz": ("megahertz", "megahertz"),
    "GHz": ("gigahertz", "gigahertz"), "Hz": ("hertz", "hertz"), "kW": ("kilowatt", "kilowatts"), "MW": ("megawatt", "megawatts"),
    "Mbps": ("megabit per second", "megabits per second"), "KB": ("kilobyte", "kilobytes"), "MB": ("megabyte", "megabytes"),
    "GB": ("gigabyte", "gigabytes"), "TB": ("terabyte", "terabytes"), "dB": ("decibel", "decibels"),
    "ms": ("millisecond", "milliseconds"), "lbs": ("pound", "pounds"), "lb": ("pound", "pounds"), "oz": ("ounce", "ounces"),
    "ft": ("foot", "feet"), "mi": ("mile", "miles"), "min": ("minute", "minutes"), "m": ("meter", "meters"), "g": ("gram", "grams"),
    "L": ("liter", "liters"), "W": ("watt", "watts"), "V": ("volt", "volts"), "h": ("hour", "hours"), "s": ("second", "seconds"),
}  # fmt: skip
_CURRENCIES = {
    "$": ("dollar", "dollars", "cent", "cents"), "€": ("euro", "euros", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"), "¥": ("yuan", "yuan", "fen", "fen"), "￥": ("yuan", "yuan", "fen", "fen"),
}  # fmt: skip
_SCALE = r"(?:\s?(thousand|million|billion|trillion|[kKMB])\b)?"
_SCALES = {"k": "thousand", "K": "thousand", "M": "million", "B": "billion"}
_FRACTIONS = {2: ("half", "halves"), 4: ("quarter", "quarters")}
_ABBREVIATIONS = {
    r"\be\.g\.": "for example", r"\bi\.e\.": "that is", r"\betc\.(?=\s+[a-z,])": "et cetera", r"\betc\.": "et cetera.",
    r"\bvs\.?(?=\s)": "versus", r"\bapprox\.": "approximately", r"\bNo\.\s?(?=\d)": "number ", r"#(?=\d)": "number ",
    r"\s?&\s?": " and ", r"\s=\s": " equals ", r"\s\+\s": " plus ", r"\s?×\s?": " times ", r"±": "plus or minus ",
    r"(?<=\d)\s?(?:a\.m\.|am|AM)(?![A-Za-z])": " A M", r"(?<=\d)\s?(?:p\.m\.|pm|PM)(?![A-Za-z])": " P M",
}  # fmt: skip


def read_english(text: str) -> str:
    """Return the text with every number, date, time, sum and unit in words."""
    for pattern, word in _ABBREVIATIONS.items():
        text = re.sub(pattern, word, text)
    for rule, say in _RULES:
        text = rule.sub(say, text)
    return re.sub(r"\s*%", " percent", text).replace("@", " at ").replace("°", " degrees")


def _rule(
    pattern: str, say: Callable[[Match[str]], str]
) -> tuple[re.Pattern[str], Callable[[Match[str]], str]]:
    return re.compile(pattern), say


def _date(year_text: str, month: int, day: int) -> str:
    return f"{_MONTHS[month - 1]} {ordinal(day)}" + (f", {year(int(year_text))}" if year_text else "")


def _month(name: str) -> int:
    return next(number for number, full in enumerate(_MONTHS, 1) if full.startswith(name[:3]))


def _slashed(found: Match[str]) -> str:
    first, second = int(found[1]), int(found[2])
    month, day = (first, second) if first <= 12 else (second, first)
    return _date(found[3], month, day) if 1 <= month <= 12 and 1 <= day <= 31 else found[0]


def _time(found: Match[str]) -> str:
    hour, minute, half = int(found[1]), int(found[2]), found[3] or ""
    if minute == 0:
        words = integer(hour) + ("" if half or hour > 12 else " o'clock")
        words += " hundred" if hour > 12 and not half else ""
    else:
        words = f"{integer(hour)} {'oh ' if minute < 10 else ''}{integer(minute)}"
    return words + half


def _sum(found: Match[str]) -> str:
    one, many, small, smalls = _CURRENCIES[found[1]]
    amount, scale = found[2], found[3]
    if scale:
        return f"{decimal(amount)} {_SCALES.get(scale, scale)} {many}"
    whole, _, rest = amount.replace(",", "").partition(".")
    if rest and len(rest) != 2:
        return f"{decimal(amount)} {many}"
    words = f"{decimal(whole)} {one if int(whole) == 1 else many}"
    if not rest or int(rest) == 0:
        return words
    cents = f"{integer(int(rest))} {small if int(rest) == 1 else smalls}"
    return cents if int(whole) == 0 else f"{words} and {cents}"


def _fraction(found: Match[str]) -> str:
    over, under = int(found[1]), int(found[2])
    if under < 2 or over == 0:
        return f"{integer(over)} over {integer(under)}"
    one, many = _FRACTIONS.get(under, (ordinal(under), ordinal(under) + "s"))
    return f"{integer(over)} {one if over == 1 else many}"


def _unit(found: Match[str]) -> str:
    one, many = _UNITS[found[2]]
    return f"{decimal(found[1])} {one if found[1] == '1' else many}"


def _phone(found: Match[str]) -> str:
    return ", ".join(digits(part) for part in re.findall(r"\d+", found[0]))


def _degrees(found: Match[str]) -> str:
    scale = {"C": " Celsius", "℃": " Celsius", "F": " Fahrenheit", "℉": " Fahrenheit"}[found[3]]
    word = " degree" if found[2] == "1" else " degrees"
    return ("minus " if found[1] else "") + decimal(found[2]) + word + scale


def _plain(found: Match[str]) -> str:
    number = found[0]
    if re.fullmatch(r"1[1-9]\d\d|20\d\d", number):
        return year(int(number))
    return digits(number) if len(number) > 9 and number.isdigit() else decimal(number)


def _decade(found: Match[str]) -> str:
    words = year(int(found[1]))
    return words[:-1] + "ies" if words.endswith("y") else words + "s"


_RULES = (
    _rule(r"(?<!\d)(\d{4})[-/](0?[1-9]|1[0-2])[-/](0?[1-9]|[12]\d|3[01])(?!\d)",
          lambda m: _date(m[1], int(m[2]), int(m[3]))),
    _rule(r"(?<![\d/])(\d{1,2})/(\d{1,2})/(\d{4})(?![\d/])", _slashed),
    _rule(rf"\b{_MONTH}\s(\d{{1,2}})(?:st|nd|rd|th)?(?:,?\s(\d{{4}}))?(?![\d:])",
          lambda m: _date(m[3] or "", _month(m[1]), int(m[2]))),
    _rule(rf"(?<!\d)(\d{{1,2}})(?:st|nd|rd|th)?\s{_MONTH}(?:,?\s(\d{{4}}))?(?!\w)",
          lambda m: _date(m[3] or "", _month(m[2]), int(m[1]))),
    _rule(r"(?<![\d:])([01]?\d|2[0-4]):([0-5]\d)(?![\d:])(\s[AP] M)?", _time),
    _rule(r"(?<![\d.])(?:\+?\d{1,3}[-. ])?\(?\d{3}\)?[-. ]\d{3}[-. ]\d{4}(?!\d)", _phone),
    _rule(rf"([$€£¥￥])\s?({_NUMBER}){_SCALE}", _sum),
    _rule(rf"(?<![\w.])([-−])?({_NUMBER})\s?(?:°\s?(?=[CF]\b)|(?=[℃℉]))([CF℃℉])", _degrees),
    _rule(r"(?<![\d./])(\d{1,3})/(\d{1,3})(?![\d./])", _fraction),
    _rule(r"(?<![\d.])\d+(?:\.\d+){2,}(?![\d.])", lambda m: " point ".join(digits(part) for part in m[0].split("."))),
    _rule(r"\b(\d{3}0)s\b", _decade),
    _rule(r"\b(\d+)(?:st|nd|rd|th)\b", lambda m: ordinal(int(m[1])) if len(m[1]) < 10 else digits(m[1])),
    _rule(rf"(?<![\w-])({_NUMBER})\s?[-–—~]\s?({_NUMBER})(?![\d-])", lambda m: f"{decimal(m[1])} to {decimal(m[2])}"),
    _rule(rf"(?<![\w.])({_NUMBER})\s?({'|'.join(map(re.escape, _UNITS))})(?![A-Za-z/²³])", _unit),
    _rule(rf"(?<![\w)-])[-−]({_NUMBER})", lambda m: "minus " + decimal(m[1])),
    _rule(rf"(?<=[A-Za-z])[-]?({_NUMBER})", lambda m: " " + _plain(re.match(_NUMBER, m[1]) or m) + " "),
    _rule(_NUMBER, _plain),
    _rule(r" {2,}", lambda _: " "),
)  # fmt: skip
