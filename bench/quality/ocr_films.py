"""Films with burned-in subtitles whose truth is known, because libass burns them here: `make(style, folder)`.

The pictures are Big Buck Bunny and Sintel, looped. Every text of a film is used once, in the order
of its list, so that what is made depends on the style alone.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

from bench.quality.ocr_texts import (
    COLUMNS,
    COLUMNS_BRIGHT,
    EN,
    JA,
    KO,
    KO_OTHERS,
    KO_SMALL,
    NEAR,
    PAIRS,
    RU,
    RU_OTHERS,
    RU_SMALL,
    ZH,
)

VIDEO = Path(__file__).resolve().parents[3] / "shared" / "media" / "video"


@dataclass(frozen=True)
class Style:
    """How one film is burned."""

    name: str
    texts: tuple[str, ...]
    background: str = "big_buck_bunny_0_30.webm"
    height: int = 720
    size: int = 40
    """Font size in pixels of the film."""
    rate: str = "25"
    seconds: int = 12
    from_second: int = 0
    """Of the background."""
    gap_frames: int = 12
    """Between one cue and the next; 0: back to back."""
    shown_frames: int = 34
    colour: str = "&H00FFFFFF"
    fade: bool = False
    box: bool = False
    outline: float = 3
    italic: bool = False
    logo: str = ""
    varying: bool = False
    """Every third frame is left out, and times stay true."""
    squeezed: bool = False
    """Pixels are a third wider than high: the film is coded three quarters as wide as it is shown."""
    turned: bool = False
    """Coded lying on its side, with the matrix by which players turn it upright."""
    bright: bool = False
    """The picture behind is nearly white."""
    sign: str = ""
    """A text in the scene, beside the middle, for four seconds."""
    credits: tuple[str, ...] = ()
    """Lines that move up through the picture."""
    karaoke: bool = False
    """Another colour walks through each line."""
    at_top: bool = False
    """Every second cue stands at the top of the picture."""
    at_left: bool = False
    """Cues begin at the same place on the left."""
    columns: bool = False
    """Cues are columns at the right side."""
    find_zones: bool = False
    """Whether the reader is told to look for zones; else it reads the lower third."""

    @property
    def frame_seconds(self) -> float:
        """Of the film before frames are left out."""
        above, _, below = self.rate.partition("/")
        return float(below or 1) / float(above)


@dataclass(frozen=True)
class Truth:
    """One burned cue: the times of the first frame that shows it and of the first that no longer does."""

    start: float
    end: float
    text: str


@dataclass(frozen=True)
class BurnedFilm:
    """One film and what it says."""

    style: Style
    path: Path
    truth: tuple[Truth, ...] = field(default=())


STYLES = (
    # Thresholds were chosen on these …
    Style("zh outline", ZH),
    Style("en yellow 360p", EN, "sintel_5s.mp4", 360, 20, "24000/1001", colour="&H0000FFFF"),
    Style("ja box", JA, box=True),
    Style("en back to back", EN, gap_frames=0),
    Style("en logo", EN, "sintel_5s.mp4", logo="YiVideo"),
    Style("zh flashes", ZH, gap_frames=20, shown_frames=5),
    Style("ru outline", RU),
    Style("ko outline", KO),
    Style("en small 720p", EN, size=28),
    Style("en white on white", EN, bright=True, outline=2),
    Style("zh squeezed", ZH, squeezed=True),
    Style("en sign", EN, sign="EXIT 24"),
    Style("en karaoke", EN, karaoke=True, shown_frames=40),
    Style("zh top and bottom", ZH, at_top=True, find_zones=True),
    Style("ru small, bright", RU_SMALL, size=30, outline=2, from_second=12),
    Style("ko small, bright", KO_SMALL, size=30, outline=2, from_second=12),
    Style("ko box, bright", KO_SMALL, box=True, from_second=6),
    Style("ja columns, bright", COLUMNS_BRIGHT, columns=True, find_zones=True, from_second=6),
    # … and these are reported.
    Style("zh italic 1080p", ZH, "sintel_5s.mp4", 1080, 56, italic=True),
    Style("en small 1080p", EN, height=1080, size=40, outline=2),
    Style("en near-identical", NEAR, gap_frames=0),
    Style("zh+en two lines", PAIRS),
    Style("ja fade", JA, "sintel_5s.mp4", fade=True),
    Style("en plain thin 360p", EN, height=360, size=20, outline=1),
    Style("zh one-frame gaps", ZH, gap_frames=1),
    Style("en 60 fps", EN, "sintel_5s.mp4", rate="60", gap_frames=24, shown_frames=70),
    Style("zh varying rate", ZH, varying=True),
    Style("ja grey, cut by the end", JA, colour="&H00B0B0B0", gap_frames=4, shown_frames=60),
    Style("ru yellow", RU_OTHERS, "sintel_5s.mp4", colour="&H0000FFFF"),
    Style("ru small 720p", RU_OTHERS, size=30, outline=2),
    Style("ko box", KO_OTHERS, "sintel_5s.mp4", box=True),
    Style("ko small 720p", KO_OTHERS, size=30, outline=2),
    Style("zh white on white", ZH, "sintel_5s.mp4", bright=True, outline=2),
    Style("en squeezed", EN, "sintel_5s.mp4", squeezed=True),
    Style("en turned", EN, turned=True),
    Style("zh sign", ZH, "sintel_5s.mp4", sign="No. 8 Gate"),
    Style("en credits", (), credits=("Directed by", "Anna Example", "Music", "John Nobody", "Camera", "Eve Else")),
    Style("zh karaoke", ZH, "sintel_5s.mp4", karaoke=True, shown_frames=40),
    Style("en top and bottom", EN, "sintel_5s.mp4", at_top=True, find_zones=True),
    Style("en left", EN, at_left=True),
    Style("ja columns", COLUMNS, columns=True, find_zones=True),
    Style("no subtitles", ()),
)  # fmt: skip
CHOSEN_ON = 18


def make(style: Style, folder: Path) -> BurnedFilm:
    """Burn a film into the folder."""
    width = style.height * 16 // 9
    step = style.shown_frames + style.gap_frames
    whole = round(style.seconds / style.frame_seconds)
    events: list[str] = []
    truth: list[Truth] = []
    for number, text in zip(range(10, whole, step), cycle(style.texts) if style.texts else (), strict=False):
        if len(truth) == len(style.texts) and style.name != "zh flashes":
            break
        last = min(number + style.shown_frames, whole)
        # Half a frame early: a hundredth of a second, which is all that ASS can say, then never decides.
        start, end = ((at - 0.5) * style.frame_seconds for at in (number, last))
        said = f"{_tags(style, width, len(truth))}{_sung(text, last - number) if style.karaoke else text}"
        events.append(f"Dialogue: 0,{_clock(start)},{_clock(end)},Main,,0,0,0,,{said}")
        truth.append(
            Truth(number * style.frame_seconds, last * style.frame_seconds, text.replace("\\N", "\n"))
        )
    if style.logo:
        at = f"{{\\an9\\pos({width - 20},{style.height * 7 // 10})}}"
        events.append(f"Dialogue: 0,0:00:00.00,0:10:00.00,Main,,0,0,0,,{at}{style.logo}")
    if style.sign:
        at = f"{{\\an4\\pos({width // 10},{style.height * 3 // 4})}}"
        events.append(f"Dialogue: 0,0:00:03.00,0:00:07.00,Main,,0,0,0,,{at}{style.sign}")
    for number, line in enumerate(style.credits):
        low, high = style.height + 80 * number, -style.height * 2 + 80 * number
        moved = f"{{\\an2\\move({width // 2},{low},{width // 2},{high},0,12000)}}"
        events.append(f"Dialogue: 0,0:00:00.00,0:00:12.00,Main,,0,0,0,,{moved}{line}")
    name = "".join(sign if sign.isalnum() else "_" for sign in style.name)
    script, path = folder / f"{name}.ass", folder / f"{name}.{'mp4' if style.turned else 'mkv'}"
    script.write_text(_script(style, width, events))
    _burn(style, width, script, path)
    return BurnedFilm(style, path, _thinned(style, truth) if style.varying else tuple(truth))


def _tags(style: Style, width: int, number: int) -> str:
    """Return the ASS overrides of one cue."""
    if style.columns:
        return f"{{\\an7\\frz-90\\fn@Noto Sans CJK SC\\pos({width - 60},{style.height // 12})}}"
    tags = "\\fad(200,200)" if style.fade else ""
    if style.at_top and number % 2:
        tags += "\\an8"
    if style.at_left:
        tags += f"\\an1\\pos({width // 8},{style.height * 15 // 16})"
    return f"{{{tags}}}" if tags else ""


def _sung(text: str, frames: int) -> str:
    """Return a text through which the second colour walks, a word or a sign at a time."""
    parts = text.split(" ") if " " in text else list(text)
    joint = " " if " " in text else ""
    each = max(1, frames * 4 // len(parts))
    return joint.join(f"{{\\kf{each}}}{part}" for part in parts)


def _thinned(style: Style, truth: list[Truth]) -> tuple[Truth, ...]:
    """Move edges to the next frame that was kept."""

    def kept(seconds: float) -> float:
        number = round(seconds / style.frame_seconds)
        return (number + (number % 3 == 1)) * style.frame_seconds

    return tuple(Truth(kept(one.start), kept(one.end), one.text) for one in truth)


def _clock(seconds: float) -> str:
    hundredths = max(0, round(seconds * 100))
    return f"0:{hundredths // 6000:02d}:{hundredths // 100 % 60:02d}.{hundredths % 100:02d}"


def _script(style: Style, width: int, events: list[str]) -> str:
    look = f"{style.colour},&H00FF8020,&H00000000,&H00000000,0,{-int(style.italic)},0,0,100,100,0,0"
    border = f"{3 if style.box else 1},{6 if style.box else style.outline},0,2,10,10,{style.height // 16},1"
    return "\n".join(
        (
            "[Script Info]", "ScriptType: v4.00+", f"PlayResX: {width}", f"PlayResY: {style.height}", "",
            "[V4+ Styles]",
            "Format: Name,Fontname,Fontsize,PrimaryColour,SecondaryColour,OutlineColour,BackColour,Bold,Italic,Underline,"
            "StrikeOut,ScaleX,ScaleY,Spacing,Angle,BorderStyle,Outline,Shadow,Alignment,MarginL,MarginR,MarginV,Encoding",
            f"Style: Main,Noto Sans CJK SC,{style.size},{look},{border}", "",
            "[Events]",
            "Format: Layer,Start,End,Style,Name,MarginL,MarginR,MarginV,Effect,Text",
            *events, "",
        )
    )  # fmt: skip


def _burn(style: Style, width: int, script: Path, path: Path) -> None:
    graph = [
        f"fps={style.rate}",
        f"scale={width}:{style.height}:flags=bilinear",
        "setsar=1",
    ]
    if style.bright:
        graph.append("eq=brightness=0.36:contrast=0.4")
    graph.append(f"ass={script.name}")
    if style.squeezed:
        graph += [f"scale={width * 3 // 4}:{style.height}", "setsar=4/3"]
    if style.turned:
        graph.append("transpose=clock")
    if style.varying:
        graph.append("select='not(eq(mod(n,3),1))'")
    coded = path.with_suffix(".mkv")
    looped = ["-stream_loop", "-1", "-ss", str(style.from_second), "-i", str(VIDEO / style.background)]
    looped += ["-t", str(style.seconds)]
    written = [
        "-an",
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-crf",
        "20",
        "-fps_mode",
        "passthrough",
        coded.name,
    ]
    argv = ["ffmpeg", "-v", "error", "-y", *looped, "-vf", ",".join(graph), *written]
    subprocess.run(argv, cwd=script.parent, check=True)
    if style.turned:
        copied = ["-c", "copy", "-metadata:s:v:0", "rotate=90", path.name]
        subprocess.run(
            ["ffmpeg", "-v", "error", "-y", "-i", coded.name, *copied], cwd=script.parent, check=True
        )
