"""Cues as files: SRT, WebVTT, ASS, TTML, LRC and plain text. Every function returns the file's whole text."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from subtitles.blocks import guard_times
from subtitles.clock import format_clock, milliseconds, split_clock
from subtitles.cue import Cue, Word, plain

_TAG = re.compile(r"<(/?)([ibu])>", re.IGNORECASE)
_OTHER_TAG = re.compile(r"</?(?![ibuIBU]>)[A-Za-z][^<>]{0,200}>")


_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f\ufffe\uffff\ud800-\udfff]")
_LINE_ENDS = re.compile("[\x0b\x0c\x85\u2028\u2029]")
"""What some readers take for the end of a line, in the middle of one."""


@dataclass(frozen=True)
class AssStyle:
    """How ASS cues look. Sizes are pixels of a picture `height` high."""

    font: str = "Noto Sans CJK SC"
    size: int = 54
    width: int = 1920
    height: int = 1080
    margin: int = 60
    outline: float = 3.0
    karaoke: bool = False
    """Whether each word lights up when it is spoken."""
    speaker_colours: tuple[str, ...] = ("FFFFFF", "FFE066", "7FD7FF", "A8F0A0", "FFB0C8", "D8B8FF")
    """RRGGBB, one for each speaker in the order in which they first speak; further speakers begin again."""


def shown_text(cue: Cue, *, speaker: bool = False) -> str:
    """Return what a cue shows: the prefix `[SPEAKER] ` if asked for, the text, the translation on lines of its own."""
    text = f"[{_speaker_name(cue)}] {cue.text}" if speaker and cue.speaker else cue.text
    return _clean(f"{text}\n{cue.translation}" if cue.translation else text)


def _clean(text: str) -> str:
    """Return a text without what no file form can hold: control characters, and ends of lines but for one kind."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text if text.isprintable() else _CONTROL.sub("", _LINE_ENDS.sub(" ", text))


def _speaker_name(cue: Cue) -> str:
    """Return a speaker's name on one line; empty where there is none."""
    return " ".join(_clean(cue.speaker or "").split())


def to_srt(cues: Iterable[Cue], *, speakers: bool = False) -> str:
    """Return SubRip text, numbered from 1."""
    blocks = (
        f"{number}\n{format_clock(cue.start)} --> {format_clock(cue.end)}\n"
        f"{_no_blank(guard_times(shown_text(cue, speaker=speakers)))}\n"
        for number, cue in enumerate(cues, 1)
    )
    return "\n".join(blocks)


def to_vtt(cues: Iterable[Cue], *, speakers: bool = False) -> str:
    """Return WebVTT text; a speaker becomes a voice tag."""

    def body(cue: Cue) -> str:
        text = _TAG.sub(lambda tag: f"\x01{tag[1]}{tag[2].lower()}\x02", _OTHER_TAG.sub("", shown_text(cue)))
        text = html.escape(text, quote=False).replace("\x01", "<").replace("\x02", ">")
        voice = html.escape(_speaker_name(cue), quote=False) if speakers else ""
        return f"<v {voice}>{text}" if voice else text

    blocks = (
        f"{format_clock(cue.start, '.')} --> {format_clock(cue.end, '.')}\n{_no_blank(body(cue))}\n"
        for cue in cues
    )
    return "\n".join(("WEBVTT\n", *blocks))


def to_txt(cues: Iterable[Cue], *, speakers: bool = False) -> str:
    """Return the texts, a cue a line."""
    return "".join(plain(shown_text(cue, speaker=speakers)).replace("\n", " ") + "\n" for cue in cues)


def to_lrc(cues: Sequence[Cue]) -> str:
    """Return LRC text: a line for each cue, and an empty one where nothing is sung for half a second or more."""
    lines = []
    for cue, following in zip(cues, (*cues[1:], None), strict=True):
        lines.append(f"[{_lrc_clock(cue.start)}]{plain(shown_text(cue)).replace(chr(10), ' ')}")
        if following is None or following.start - cue.end >= 0.5:
            lines.append(f"[{_lrc_clock(cue.end)}]")
    return "\n".join(lines) + ("\n" if lines else "")


def _lrc_clock(seconds: float) -> str:
    minutes, rest = divmod(round(milliseconds(seconds) / 10), 6000)
    return f"{minutes:02d}:{rest // 100:02d}.{rest % 100:02d}"


def to_ttml(cues: Iterable[Cue], language: str = "") -> str:
    """Return TTML (the form of IMSC text profiles, media times in hours:minutes:seconds)."""
    rows = (
        f'      <p begin="{format_clock(cue.start, ".")}" end="{format_clock(cue.end, ".")}">'
        f"{_ttml_text(shown_text(cue))}</p>\n"
        for cue in cues
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<tt xmlns="http://www.w3.org/ns/ttml" xml:lang="{html.escape(language)}">\n  <body>\n    <div>\n'
        f"{''.join(rows)}    </div>\n  </body>\n</tt>\n"
    )


def _ttml_text(text: str) -> str:
    return html.escape(plain(text), quote=False).replace("\n", "<br/>")


def to_ass(cues: Sequence[Cue], style: AssStyle | None = None) -> str:
    """Return ASS text with a style for each speaker; with `karaoke`, words light up as they are spoken."""
    style = style or AssStyle()
    speakers = list(dict.fromkeys(cue.speaker or "" for cue in cues)) or [""]
    names = {speaker: _style_name(speaker, number) for number, speaker in enumerate(speakers)}
    styles = "".join(
        _style_row(names[speaker], style, style.speaker_colours[number % len(style.speaker_colours)])
        for number, speaker in enumerate(speakers)
    )
    events = "".join(_event_row(cue, names[cue.speaker or ""], style) for cue in cues)
    return (
        f"[Script Info]\nScriptType: v4.00+\nPlayResX: {style.width}\nPlayResY: {style.height}\nWrapStyle: 2\n"
        "ScaledBorderAndShadow: yes\n\n[V4+ Styles]\n"
        "Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, Underline, "
        "StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding\n"
        f"{styles}\n[Events]\n"
        "Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n"
        f"{events}"
    )


def _style_name(speaker: str, number: int) -> str:
    return "Default" if number == 0 else f"Speaker{number + 1}"


def _style_row(name: str, style: AssStyle, colour: str) -> str:
    bgr = f"{colour[4:6]}{colour[2:4]}{colour[0:2]}"
    return (
        f"Style: {name},{style.font},{style.size},&H00{bgr},&H00808080,&H00000000,&H80000000,0,0,0,0,100,100,0,0,1,"
        f"{style.outline:g},0,2,{style.margin},{style.margin},{style.margin},1\n"
    )


def _event_row(cue: Cue, style_name: str, style: AssStyle) -> str:
    text = _karaoke(cue) if style.karaoke and cue.words else _ass_text(shown_text(cue))
    name = _speaker_name(cue).replace(",", " ")
    return f"Dialogue: 0,{_ass_clock(cue.start)},{_ass_clock(cue.end)},{style_name},{name},0,0,0,,{text}\n"


def _ass_clock(seconds: float) -> str:
    hours, minute, second, fraction = split_clock(round(seconds, 2))
    return f"{hours}:{minute:02d}:{second:02d}.{fraction // 10:02d}"


def _ass_text(text: str) -> str:
    """Return a text for an event: tags become overrides, and a brace or backslash of the text itself starts none."""
    text = _OTHER_TAG.sub("", text).replace("\\", "\\\u2060").replace("{", "\\{").replace("}", "\\}")
    return _TAG.sub(lambda tag: f"{{\\{tag[2].lower()}{0 if tag[1] else 1}}}", text).replace("\n", "\\N")


def _karaoke(cue: Cue) -> str:
    """Return `{\\kf…}` syllables; pauses between words are syllables without text, so that nothing drifts."""
    breaks = _breaks_after(cue.words, cue.plain)
    pieces, clock = [], cue.start
    for number, word in enumerate(cue.words):
        pause = round((word.start - clock) * 100)
        if pause > 0:
            pieces.append(f"{{\\k{pause}}}")
        pieces.append(f"{{\\kf{max(1, round((word.end - word.start) * 100))}}}{_ass_text(_clean(word.text))}")
        if number in breaks:
            pieces.append("\\N")
        clock = max(clock, word.end)
    return "".join(pieces).lstrip()


def _breaks_after(words: Sequence[Word], text: str) -> set[int]:
    """Return the numbers of the words after which the text has a line break."""
    found, letters, targets = set(), 0, []
    for line in text.split("\n")[:-1]:
        letters += len(re.sub(r"\s", "", line))
        targets.append(letters)
    letters = 0
    for number, word in enumerate(words):
        letters += len(re.sub(r"\s", "", word.text))
        if targets and letters >= targets[0]:
            found.add(number)
            targets.pop(0)
    return found


def _no_blank(text: str) -> str:
    """Return a text without empty lines: they would end the cue."""
    return "\n".join(line for line in text.split("\n") if line.strip()) or " "


WRITERS: dict[str, Callable[[Sequence[Cue]], str]] = {
    "srt": to_srt,
    "vtt": to_vtt,
    "ass": to_ass,
    "ttml": to_ttml,
    "lrc": to_lrc,
    "txt": to_txt,
}
"""File forms by extension."""
