"""Makes the demo's film: three sentences spoken by two of flite's voices, shown as burned-in subtitles, over moving pictures."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

SENTENCES = (
    "Every accepted task ends exactly once.",
    "Nothing is lost when a machine goes away.",
    "And when you tell it to stop, it stops.",
)

VOICES = ("slt", "rms", "slt")
"""Who speaks each sentence: a woman, a man, and the woman again."""

_LEAD_SECONDS = 0.6
_GAP_SECONDS = 0.8
_PICTURES = ("testsrc2=s=640x360:r=25", "mandelbrot=s=640x360:r=25", "gradients=s=640x360:r=25:speed=0.05")


@dataclass(frozen=True)
class Film:
    """The film and its subtitles, and when each sentence is spoken."""

    video: Path
    subtitles: Path
    cues: tuple[tuple[float, float, str], ...]
    """(start, end) in seconds and the text."""

    @property
    def duration_seconds(self) -> float:
        """Length of the film."""
        return self.cues[-1][1] + _GAP_SECONDS


def make_film(folder: Path) -> Film:
    """Write `film.mp4` and `film.srt` into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    voices = [
        _speak(folder / f"voice-{i}.wav", *line) for i, line in enumerate(zip(VOICES, SENTENCES, strict=True))
    ]
    cues = []
    clock = _LEAD_SECONDS
    for voice, text in zip(voices, SENTENCES, strict=True):
        length = _seconds(voice)
        cues.append((clock, clock + length, text))
        clock += length + _GAP_SECONDS
    subtitles = folder / "film.srt"
    subtitles.write_text("\n".join(_srt_cue(number, cue) for number, cue in enumerate(cues, 1)))
    film = Film(folder / "film.mp4", subtitles, tuple(cues))
    _render(folder, film, voices)
    return film


def _speak(path: Path, voice: str, text: str) -> Path:
    subprocess.run(["flite", "-voice", voice, "-t", text, "-o", path], check=True, timeout=60)
    return path


def _probe(path: Path, entries: str) -> list[str]:
    argv = ["ffprobe", "-v", "error", "-show_entries", entries, "-of", "default=nw=1:nk=1", str(path)]
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60).stdout.split()


def _seconds(path: Path) -> float:
    return float(_probe(path, "format=duration")[0])


def describe_audio(path: Path) -> str:
    """Say in a few words what ffprobe finds in an audio file."""
    codec, rate, channels, seconds = _probe(path, "stream=codec_name,sample_rate,channels:format=duration")
    return f"{codec}, {int(rate) / 1000:g} kHz, {channels} channel(s), {float(seconds):.2f} s"


def _srt_cue(number: int, cue: tuple[float, float, str]) -> str:
    start, end, text = cue
    return f"{number}\n{_srt_time(start)} --> {_srt_time(end)}\n{text}\n"


def _srt_time(seconds: float) -> str:
    milliseconds = round(seconds * 1000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    return f"00:{minutes:02d}:{milliseconds // 1000:02d},{milliseconds % 1000:03d}"


def _render(folder: Path, film: Film, voices: list[Path]) -> None:
    # One picture a sentence, cut hard between them, so that scene detection has something to find.
    lengths = [
        (film.cues[i + 1][0] if i + 1 < len(film.cues) else film.duration_seconds) - (start if i else 0)
        for i, (start, _, _) in enumerate(film.cues)
    ]
    pictures = ";".join(
        f"{source},trim=duration={length:.3f},setpts=PTS-STARTPTS[v{i}]"
        for i, (source, length) in enumerate(zip(_PICTURES, lengths, strict=True))
    )
    delays = ";".join(
        f"[{i}:a]aresample=48000,adelay={round(start * 1000)}:all=1[a{i}]"
        for i, (start, _, _) in enumerate(film.cues)
    )
    count = len(voices)
    graph = (
        f"{pictures};{''.join(f'[v{i}]' for i in range(count))}concat=n={count}:v=1:a=0,"
        f"subtitles=film.srt:force_style='Fontsize=22,Outline=2'[v];"
        f"{delays};{''.join(f'[a{i}]' for i in range(count))}amix=inputs={count}:normalize=0,apad[a]"
    )
    inputs = [part for voice in voices for part in ("-i", voice.name)]
    subprocess.run(
        ["ffmpeg", "-v", "error", "-y", *inputs, "-filter_complex", graph, "-map", "[v]", "-map", "[a]",
         "-t", f"{film.duration_seconds:.3f}", "-c:v", "libx264", "-preset", "ultrafast", "-g", "50",
         "-c:a", "aac", "-movflags", "+faststart", film.video.name],
        check=True, cwd=folder, timeout=300,
    )  # fmt: skip
