"""Figures and signs in Chinese text, as a Chinese reader says them.

Years and long numbers go digit by digit, amounts by value, 2 is 两 before measures; telephone numbers say 幺 for 1. Each rule
takes what the rules before it have left.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import cn2an

_DIGITS = dict(zip("0123456789", "零一二三四五六七八九", strict=True))
_PHONE_DIGITS = {**_DIGITS, "1": "幺"}
_UNITS = {
    "km/h": "公里每小时", "km²": "平方公里", "m²": "平方米", "m³": "立方米", "km": "公里", "cm": "厘米", "mm": "毫米", "kg": "公斤",
    "mg": "毫克", "ml": "毫升", "GHz": "吉赫兹", "MHz": "兆赫兹", "kHz": "千赫兹", "Hz": "赫兹", "GB": "G B", "MB": "兆", "°C":
    "摄氏度", "℃": "摄氏度", "kW": "千瓦", "m": "米", "g": "克", "L": "升", "W": "瓦", "V": "伏",
}  # fmt: skip
_MONEY = {"¥": "元", "￥": "元", "$": "美元", "€": "欧元", "£": "英镑"}
_MEASURES = "个只条张位名件本杯瓶次天年周岁块元斤公米里点层楼台辆种对双套所家万亿千百点"
_NUMBER = r"-?\d+(?:,\d{3})*(?:\.\d+)?"
_RULES: list[tuple[re.Pattern[str], Callable[[re.Match[str]], str]]] = []


def read_figures(text: str) -> str:
    """Return the text with its figures and signs in Chinese characters."""
    text = text.replace("〇", "零").translate(str.maketrans("０１２３４５６７８９", "0123456789"))
    for pattern, say in _RULES:
        text = pattern.sub(say, text)
    return text


def _rule(pattern: str) -> Callable[[Callable[[re.Match[str]], str]], Callable[[re.Match[str]], str]]:
    def add(say: Callable[[re.Match[str]], str]) -> Callable[[re.Match[str]], str]:
        _RULES.append((re.compile(pattern), say))
        return say

    return add


def by_digit(figures: str) -> str:
    """Say each digit: 2026 is 二零二六."""
    return "".join(_DIGITS.get(digit, digit) for digit in figures)


def by_value(figures: str) -> str:
    """Say a number by its value: 3.5 is 三点五, -2 is 负二, 105 is 一百零五."""
    figures = figures.replace(",", "")
    sign = "负" if figures.startswith("-") else ""
    whole, _, fraction = figures.lstrip("-").partition(".")
    if len(whole) > 16:
        return sign + by_digit(whole)
    said = cn2an.an2cn(str(int(whole)), "low")
    said = re.sub(r"^一十", "十", said)
    return sign + said + (f"点{by_digit(fraction)}" if fraction else "")


@_rule(r"(?<!\d)(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?!\d)")
def _date(match: re.Match[str]) -> str:
    return f"{by_digit(match[1])}年{by_value(match[2])}月{by_value(match[3])}日"


@_rule(r"(?<!\d)(\d{2,4})(?=年(?!级|前|后|来|间|内|代以))")
def _year(match: re.Match[str]) -> str:
    return by_digit(match[1]) if len(match[1]) != 3 else by_value(match[1])


@_rule(r"(?<!\d)(\d{1,2}):(\d{2})(?::(\d{2}))?(?!\d)")
def _time(match: re.Match[str]) -> str:
    minute = (
        "整"
        if match[2] == "00" and not match[3]
        else f"{'零' if match[2][0] == '0' else ''}{by_value(match[2])}分"
    )
    return f"{_counted(match[1])}点{minute}" + (f"{by_value(match[3])}秒" if match[3] else "")


@_rule(r"(?<!\d)(1[3-9]\d)[- ]?(\d{4})[- ]?(\d{4})(?!\d)")
def _mobile(match: re.Match[str]) -> str:
    return "，".join("".join(_PHONE_DIGITS[digit] for digit in part) for part in match.groups())


@_rule(r"(?<!\d)(0\d{2,3})-(\d{7,8})(?!\d)")
def _telephone(match: re.Match[str]) -> str:
    return "，".join("".join(_PHONE_DIGITS[digit] for digit in part) for part in match.groups())


@_rule(rf"({_NUMBER})\s*[%％]")
def _percent(match: re.Match[str]) -> str:
    value = by_value(match[1])
    return f"负百分之{value[1:]}" if value.startswith("负") else f"百分之{value}"


@_rule(r"(?<![\d/])(\d{1,3})/(\d{1,3})(?![\d/])")
def _fraction(match: re.Match[str]) -> str:
    return f"{by_value(match[2])}分之{by_value(match[1])}"


@_rule(rf"([¥￥$€£])\s*({_NUMBER})(万|亿)?")
def _money(match: re.Match[str]) -> str:
    return f"{_counted(match[2])}{match[3] or ''}{_MONEY[match[1]]}"


@_rule(rf"({_NUMBER})\s*({'|'.join(map(re.escape, _UNITS))})(?![A-Za-z])")
def _unit(match: re.Match[str]) -> str:
    return f"{_counted(match[1])}{_UNITS[match[2]]}"


@_rule(r"(?<=\d)\s*[-~—–至]\s*(?=\d)")
def _range(match: re.Match[str]) -> str:
    return "到"


@_rule(r"(?<![\d.])2(?=[" + _MEASURES + r"])")
def _two(match: re.Match[str]) -> str:
    return "两"


@_rule(r"(?<![\d.])(?:0\d+|\d{9,})(?![\d.])")
def _code(match: re.Match[str]) -> str:
    return by_digit(match[0])


@_rule(_NUMBER)
def _number(match: re.Match[str]) -> str:
    return by_value(match[0])


@_rule(r"\s*([+×÷=])\s*")
def _sign(match: re.Match[str]) -> str:
    return {"+": "加", "×": "乘", "÷": "除以", "=": "等于"}[match[1]]


def _counted(figures: str) -> str:
    return "两" if figures == "2" else by_value(figures)
