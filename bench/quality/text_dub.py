"""Films spoken again: `python -m bench.quality.text_dub`.

Lines of a real recording (../shared/media/asr) are spoken by `indextts.speak_lines` in their own times, and in times that leave
a translation as little as half of that; then put over Big Buck Bunny's music by `ffmpeg.mix_voice_over`. Measured is how far
lines go on behind their slots (the pause behind a line that may be used is part of its slot, and told apart), and whether picture
and sound are where they were: the film's own music in the dubbed film is held against itself, the frames against their times. Ends
with `RESULT {...}`, and with status 1 when a gate is missed: 80 ms at p95, one frame, 0.5 LU, 6 dB ± 0.5.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.quality.text_sync import MEDIA
from nodekit.testkit import NodeUnderTest
from services.ffmpeg.node import node as ffmpeg_node
from services.tts.node import node as tts_node
from subtitles.reading import read_document
from subtitles.score import percentile

_GATES = {
    "dub_overrun_p95_ms": 80.0,
    "dub_av_offset_frames": 1.0,
    "dub_loudness_error_lu": 0.5,
    "dub_duck_error_db": 0.5,
}
_RATE = 48_000
_ROOM = (1.0, 0.6, 0.5)
"""Of a line's own time, what is left for it: a translation is longer than its original, and this reader is slow."""
Line = dict[str, Any]


def sonnet(speakers: int) -> list[Line]:
    """Return the sonnet's lines, by so many speakers in turn."""
    cues = [cue for cue in read_document(MEDIA / "asr/sonnet001.gt.srt").cues if cue.plain != "1"]
    return [
        {"start": cue.start, "end": cue.end, "text": cue.plain, "speaker": f"SPEAKER_0{number % speakers}"}
        for number, cue in enumerate(cues)
    ]


def tightened(lines: Sequence[Line], room: float) -> list[Line]:
    """Return the lines with less time each; the pauses behind them stay as long as they were."""
    found: list[Line] = []
    clock = lines[0]["start"]
    for number, line in enumerate(lines):
        seconds = (line["end"] - line["start"]) * room
        found.append({**line, "start": round(clock, 3), "end": round(clock + seconds, 3)})
        if number + 1 < len(lines):
            clock += seconds + lines[number + 1]["start"] - line["end"]
    return found


def film_of(seconds: float, target: Path) -> Path:
    """Make a film of that length of Big Buck Bunny, again and again."""
    source = MEDIA / "video/big_buck_bunny_0_30.webm"
    subprocess.run(
        ["ffmpeg", "-v", "error", "-y", "-stream_loop", "-1", "-i", source, "-t", f"{seconds:.3f}", "-vf", "scale=320:-2",
         "-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac", "-b:a", "192k", target],
        check=True, timeout=300,
    )  # fmt: skip
    return target


def sound(path: Path) -> np.ndarray[Any, Any]:
    """Return a film's sound on its own clock, one channel."""
    done = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", path, "-map", "0:a:0", "-af", "aresample=async=1:first_pts=0", "-f", "f32le",
         "-ar", str(_RATE), "-ac", "1", "-"],
        check=True, capture_output=True, timeout=300,
    )  # fmt: skip
    return np.frombuffer(done.stdout, "<f4")


def frame_times(path: Path) -> list[float]:
    """Return when each frame is shown."""
    done = subprocess.run(
        ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", "packet=pts_time", "-of", "csv=p=0", path],
        check=True, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    return sorted(float(line.strip(",")) for line in done.stdout.split())


def lag_seconds(before: np.ndarray[Any, Any], after: np.ndarray[Any, Any], start: float, end: float) -> float:
    """Return by how much a span of the sound is later than it was, found by correlation within a second."""
    first, size = int(start * _RATE), int((end - start) * _RATE)
    one, other = before[first : first + size], after[first : first + size]
    length = 1 << (2 * size - 1).bit_length()
    found = np.fft.irfft(np.fft.rfft(other, length) * np.conj(np.fft.rfft(one, length)), length)
    near = np.concatenate([found[-_RATE:], found[:_RATE]])
    return float((np.argmax(near) - _RATE) / _RATE)


def gaps(rows: Sequence[Line], total: float) -> list[tuple[float, float]]:
    """Return spans in which nobody speaks and the background is up."""
    found, clock = [], 0.0
    for row in [*rows, {"start": total, "end": total}]:
        if row["start"] - 0.3 - (clock + 0.9) > 0.5:
            found.append((clock + 0.9, row["start"] - 0.3))
        clock = max(clock, row["end"])
    return found


async def speak(folder: Path, sets: dict[str, list[Line]]) -> dict[str, Any]:
    """Speak every set; returns each task's result."""
    found = {}
    async with NodeUnderTest(tts_node, folder) as under_test:
        for name, lines in sets.items():
            task = {"lines": lines, "language": "en", "duration": lines[-1]["end"] + 2.0}
            result = await under_test.run("indextts.speak_lines", task, task_id=name, wait_seconds=900)
            if result.outcome != "completed":
                raise SystemExit(f"{name}: {result.error.code} {result.error.message}")
            found[name] = result
    return found


async def measure(folder: Path) -> dict[str, float]:
    """Return the figures."""
    # One speaker has the fast voice; two have Kokoro's, which takes a second of a core for each second of speech.
    sets = {f"room-{room:g}": tightened(sonnet(1), room) for room in _ROOM}
    sets["two-voices"] = sonnet(2)
    spoken = await speak(folder / "tts", sets)
    overruns: list[float] = []
    figures: dict[str, float] = {}
    for name, result in spoken.items():
        rows = json.loads(result.file("lines_file").read_text())["lines"]
        overruns += [row["overrun_ms"] for row in rows]
        own = [max(0.0, row["end"] - row["slot_end"]) * 1000 for row in rows]
        print(
            f"  {name}: {len(rows)} lines, overrun p95 {result.output['overrun_p95_ms']:.0f} ms, max "
            f"{result.output['overrun_max_ms']:.0f} ms; into the pause p95 {percentile(own, 0.95):.0f} ms; "
            f"{result.output['borrowing_lines']} borrow, {result.output['shortened_lines']} shorter, tempo "
            f"{min(row['tempo'] for row in rows):.2f} to {max(row['tempo'] for row in rows):.2f}"
        )
        figures[f"dub_shortened_share_{name.replace('-', '_').replace('.', '_')}"] = round(
            result.output["shortened_lines"] / len(rows), 3
        )
    figures["dub_overrun_p95_ms"] = round(percentile(overruns, 0.95) or 0.0, 1)
    figures["dub_overrun_max_ms"] = max(overruns)
    return figures | await mixed(folder, spoken["two-voices"])


async def mixed(folder: Path, spoken: Any) -> dict[str, float]:
    """Return what a film is like that got the voices."""
    rows = json.loads(spoken.file("lines_file").read_text())["lines"]
    total = spoken.output["duration"]
    film = film_of(total, folder / "film.mp4")
    async with NodeUnderTest(ffmpeg_node, folder / "ffmpeg", allowed_roots=(folder,)) as under_test:
        task = {"video_path": str(film), "voice_path": str(spoken.file("audio_path")), "language": "en"}
        result = await under_test.run("ffmpeg.mix_voice_over", task, wait_seconds=300)
        if result.outcome != "completed":
            raise SystemExit(f"mix: {result.error.code} {result.error.message}")
        dubbed = result.file("video_path")
        before, after = sound(film), sound(dubbed)
    spans = gaps(rows, total)
    lags = [lag_seconds(before, after, start, end) for start, end in spans]
    times, again = frame_times(film), frame_times(dubbed)
    frames = np.array(again) - np.array(times) if len(times) == len(again) else np.array([1e3])
    fps = (len(times) - 1) / (times[-1] - times[0])
    offset = max(abs(lag - float(np.median(frames))) for lag in lags) * fps
    print(
        f"  sound moved by {[round(lag * 1000, 2) for lag in lags]} ms, frames by {float(np.max(np.abs(frames))) * 1000:.2f} ms"
    )
    return {
        "dub_av_offset_frames": round(offset, 3),
        "dub_loudness_error_lu": round(abs(result.output["loudness_lufs"] + 16), 2),
        "dub_true_peak_db": result.output["true_peak_db"],
        "dub_duck_error_db": round(abs(duck_db(before, after, rows, spans) - 6.0), 2),
    }


def duck_db(
    before: np.ndarray[Any, Any],
    after: np.ndarray[Any, Any],
    rows: Sequence[Line],
    spans: Sequence[tuple[float, float]],
) -> float:
    """Return by how much the music steps back: its share in the sum, found by projection, with a voice and without one."""

    def share(start: float, end: float) -> float:
        one = before[int(start * _RATE) : int(end * _RATE)]
        other = after[int(start * _RATE) : int(end * _RATE)]
        return float(np.dot(one, other) / np.dot(one, one))

    under = np.median(
        [share(row["start"] + 0.1, row["end"] - 0.1) for row in rows if row["end"] - row["start"] > 1]
    )
    alone = np.median([share(start, end) for start, end in spans])
    return float(20 * np.log10(alone / under))


def main() -> int:
    """Measure, judge, print."""
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(measure(Path(folder)))
    print("RESULT " + json.dumps(figures))
    missed = [name for name, gate in _GATES.items() if figures[name] > gate]
    if missed:
        print(f"missed: {', '.join(missed)}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
