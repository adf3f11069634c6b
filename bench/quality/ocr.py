"""How well burned-in subtitles are read, on films whose subtitles are burned here: `make quality-ocr`.

`--short` takes every third film; `--only WORD` those whose name has the word. The naïve way (every fifth frame, the whole strip
through RapidOCR, equal neighbours joined) is measured in the same run, on the same films.

An engine call is one run of a network, or of a program: the detector over stitched strips, the recogniser over one
batch of lines. How many strips and lines were in them is told beside: fewer calls are no merit when each has more to do.
"""

from __future__ import annotations

import argparse
import difflib
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.quality.ocr_films import CHOSEN_ON, STYLES, BurnedFilm, Style, make
from bench.quality.ocr_score import Score, score
from services.ocr.by_script import load
from services.ocr.cue import normalised
from services.ocr.decoding import frames, frames_ahead
from services.ocr.engine import Engine, Runs
from services.ocr.film import probe
from services.ocr.following import Follower
from services.ocr.rapid import RapidEngine
from services.ocr.reading import read_film, view_of
from services.ocr.reading_items import Options, Result
from services.ocr.small import small_of

_THREADS = 2
_NAIVE_STEP = 5
_FRONT_END_SECONDS = 120
_FRONT_END_RUNS = 3
_SCRIPTS = ("ru", "ko")
"""Languages whose films have a gate of their own for wrong letters."""


@dataclass(frozen=True)
class Said:
    """A cue of the naïve way."""

    start: float
    end: float
    text: str


@dataclass
class Row:
    """One film's figures."""

    style: Style
    score: Score
    seconds: float
    runs: Runs
    frames: int
    naive: Score = field(default_factory=Score)
    naive_runs: Runs = field(default_factory=Runs)
    naive_seconds: float = 0.0
    cpu_seconds: float = 0.0
    """Of processors, children's too: what the speed is on a machine that does nothing else."""

    @property
    def language(self) -> str:
        """The first word of its name."""
        return self.style.name.split(" ")[0]


def read_naively(engine: Engine, film: BurnedFilm) -> tuple[list[Said], Runs]:
    """Read every fifth frame's whole strip and join equal neighbours; returns cues and what the engine did."""
    facts = probe(film.path)
    engine.begin("auto", Runs())
    said: list[Said] = []
    for number, frame in enumerate(frames(facts, view_of(engine, facts, Options()))):
        if number % _NAIVE_STEP:
            continue
        small = small_of(engine, frame.luma)
        scale = frame.luma.shape[1] / small.shape[1]
        (found,) = engine.find([small])
        boxes = sorted((box.scaled(scale) for box in found), key=lambda box: (round(box.top / 20), box.left))
        read = engine.read([frame.luma[box.top : box.bottom, box.left : box.right] for box in boxes])
        text = "\n".join(normalised(one.text) for one in read if one.confidence >= 0.6)
        end = frame.time + _NAIVE_STEP * film.style.frame_seconds
        if text and said and said[-1].end >= frame.time - 1e-6 and _alike(text, said[-1].text):
            said[-1] = Said(said[-1].start, end, said[-1].text)
        elif text:
            said.append(Said(frame.time, end, text))
    return said, engine.runs


def _alike(one: str, other: str) -> bool:
    return difflib.SequenceMatcher(None, one, other, autojunk=False).ratio() >= 0.8


def measure(engine: Engine, film: BurnedFilm, *, verbose: bool, naive: Engine | None) -> Row:
    """Read one film both ways."""
    began, used = time.perf_counter(), cpu_seconds()
    options = Options(find_zones=film.style.find_zones)
    result = next(one for one in read_film(engine, film.path, options) if isinstance(one, Result))
    seconds = time.perf_counter() - began
    scored = score(film.truth, result.cues, film.style.frame_seconds)
    row = Row(film.style, scored, seconds, replace(result.figures.runs), result.figures.frames)
    row.cpu_seconds = cpu_seconds() - used
    if naive is not None:
        began = time.perf_counter()
        said, row.naive_runs = read_naively(naive, film)
        row.naive_seconds = time.perf_counter() - began
        row.naive = score(film.truth, said, film.style.frame_seconds)
    if verbose:
        for one in film.truth:
            print(f"    burned {one.start:7.3f} {one.end:7.3f} {one.text!r}")
        for cue in result.cues:
            print(f"    read   {cue.start:7.3f} {cue.end:7.3f} {cue.text!r} {cue.lines[0].confidence:.2f}")
        for name, lines in (("static", result.static), ("scene", result.scene)):
            print(*(f"    {name} {line.start:.2f} {line.end:.2f} {line.text!r}" for line in lines), sep="\n")
    return row


def show(row: Row) -> None:
    """Print one film's line."""
    one, other = row.score, row.naive
    speed = row.style.seconds / row.seconds
    print(
        f"{row.style.name:26} exact {one.exact}/{one.events} CER {cer(one):.3f} missed {one.missed} phantom {one.phantom} "
        f"split/merged {one.split_or_merged} edge p95 {one.edge(0.95):.1f} max {one.edge(1):.1f} calls {row.runs.calls} "
        f"({row.runs.detector}+{row.runs.recogniser}, {row.runs.pictures} strips, {row.runs.lines} lines) {speed:.1f}× "
        f"| naïve exact {other.exact} missed {other.missed} phantom {other.phantom} edge p95 {other.edge(0.95):.1f} "
        f"calls {row.naive_runs.calls}",
        flush=True,
    )


def cer(one: Score) -> float:
    """Return the character error rate."""
    return one.wrong_letters / one.letters if one.letters else 0.0


def total(rows: Sequence[Row]) -> Score:
    """Add all films."""
    return sum((row.score for row in rows), Score())


def speed(rows: Sequence[Row], height: int) -> float:
    """Return seconds of film a second, over the films of one height."""
    chosen = [row for row in rows if row.style.height == height]
    took = sum(row.seconds for row in chosen)
    return round(sum(row.style.seconds for row in chosen) / took, 2) if took else 0.0


class _Blind:
    """An engine that finds nothing: what remains is decode and gate."""

    name = "blind"
    device = "cpu"
    runs = Runs()

    def __init__(self, engine: Engine) -> None:
        self.detector_width = engine.detector_width

    def begin(self, language: str, runs: Runs) -> None:
        pass

    def find(self, pictures: Sequence[object]) -> list[list[object]]:
        return [[] for _ in pictures]

    def read(self, lines: Sequence[object]) -> list[object]:
        return [None for _ in lines]


def front_end(engine: Engine, film: BurnedFilm) -> float:
    """Return how fast decode and gate alone are, as a share of a bare decode to null: the best of several runs of each, in turns,
    over the film played often enough that starting a process does not count.
    """
    long = film.path.with_name("front_end.mkv")
    rounds = str(round(_FRONT_END_SECONDS / film.style.seconds) - 1)
    copied = ["-stream_loop", rounds, "-i", str(film.path), "-c", "copy", "-y", str(long)]
    subprocess.run(["ffmpeg", "-v", "error", *copied], check=True)
    facts = probe(long)
    view = view_of(engine, facts, Options())
    bare, ours = list[float](), list[float]()
    for _ in range(_FRONT_END_RUNS):
        began = time.perf_counter()
        subprocess.run(
            ["ffmpeg", "-v", "error", "-i", str(long), "-map", "0:v:0", "-f", "null", "-"], check=True
        )
        bare.append(time.perf_counter() - began)
        began = time.perf_counter()
        for _piece in Follower(_Blind(engine)).follow(frames_ahead(facts, view)):  # type: ignore[arg-type]
            pass
        ours.append(time.perf_counter() - began)
    print(f"front end {min(ours):.2f} s, bare decode {min(bare):.2f} s of {_FRONT_END_SECONDS} s of film")
    return round(min(bare) / min(ours), 3)


def cpu_seconds() -> float:
    """Return what this process and its children that have ended took of processors."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def unhurried(rows: Sequence[Row], height: int) -> float:
    """Return seconds of film a second that two processors would do which have nothing else to do and are always busy: by the time
    they were used, not by the clock.
    """
    chosen = [row for row in rows if row.style.height == height]
    used = sum(row.cpu_seconds for row in chosen) / _THREADS
    return round(sum(row.style.seconds for row in chosen) / used, 2) if used else 0.0


def peak_mib() -> float:
    """Return this process's highest resident memory."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def figures(rows: Sequence[Row], ratio: float, growth_mib: float) -> dict[str, object]:
    """Return the figures of the RESULT line, over the films that thresholds were not chosen on."""
    own, naive = total(rows), sum((row.naive for row in rows), Score())
    events = max(1, own.events)
    return {
        "ocr_exact_lines": round(own.exact / events, 4),
        "ocr_cer": round(cer(total([row for row in rows if row.language not in _SCRIPTS])), 4),
        "ocr_missed": own.missed,
        "ocr_phantom": own.phantom,
        "ocr_split_or_merged": own.split_or_merged,
        "ocr_edge_p95_frames": round(own.edge(0.95), 2),
        "ocr_edge_max_frames": round(own.edge(1), 2),
        "ocr_cer_ru_ko": round(cer(total([row for row in rows if row.language in _SCRIPTS])), 4),
        "ocr_calls_per_event": round(sum(row.runs.calls for row in rows) / events, 2),
        "ocr_strips_per_event": round(sum(row.runs.pictures for row in rows) / events, 2),
        "ocr_lines_read_per_event": round(sum(row.runs.lines for row in rows) / events, 2),
        "ocr_x_realtime_720p": speed(rows, 720),
        "ocr_x_realtime_1080p": speed(rows, 1080),
        "ocr_x_realtime_720p_by_cpu": unhurried(rows, 720),
        "ocr_x_realtime_1080p_by_cpu": unhurried(rows, 1080),
        "frontend_ratio_decode": ratio,
        "rss_growth_mib": round(growth_mib),
        "naive_exact_lines": round(naive.exact / events, 4),
        "naive_missed": naive.missed,
        "naive_phantom": naive.phantom,
        "naive_split_or_merged": naive.split_or_merged,
        "naive_edge_p95_frames": round(naive.edge(0.95), 2),
        "naive_calls_per_event": round(sum(row.naive_runs.calls for row in rows) / events, 2),
    }


def missed_gates(result: dict[str, object]) -> list[str]:
    """Return the gates that the figures do not pass."""
    least = {
        "ocr_exact_lines": 0.97,
        "ocr_x_realtime_720p": 2.0,
        "ocr_x_realtime_1080p": 1.0,
        "frontend_ratio_decode": 0.8,
    }
    most = {"ocr_cer": 0.01, "ocr_cer_ru_ko": 0.03, "ocr_missed": 0, "ocr_phantom": 0, "ocr_split_or_merged": 0,
            "ocr_edge_p95_frames": 1.0, "ocr_edge_max_frames": 2.0, "ocr_calls_per_event": 1.5}  # fmt: skip
    low = [
        f"{name} {result[name]} < {bound}"
        for name, bound in least.items()
        if float(str(result[name])) < bound
    ]
    high = [
        f"{name} {result[name]} > {bound}"
        for name, bound in most.items()
        if float(str(result[name])) > bound + 1e-6
    ]
    return low + high


def main() -> int:
    """Run; returns the exit status: 1 when a gate is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--only", default="")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--no-naive", action="store_true")
    options = parser.parse_args()
    styles = [one for one in STYLES if options.only in one.name][:: 3 if options.short else 1]
    engine = load(_THREADS)
    naive = None if options.no_naive else RapidEngine(_THREADS)
    rows: list[Row] = []
    ratio, before = 0.0, 0.0
    with tempfile.TemporaryDirectory() as folder:
        for style in styles:
            film = make(style, Path(folder))
            rows.append(measure(engine, film, verbose=options.verbose, naive=naive))
            show(rows[-1])
            before = before or peak_mib()
            if not ratio and style.height == 720:
                ratio = front_end(engine, film)
    reported = [row for row in rows if STYLES.index(row.style) >= CHOSEN_ON] or rows
    result = figures(reported, ratio, peak_mib() - before)
    for gate in missed_gates(result):
        print(f"missed: {gate}")
    print("RESULT " + json.dumps(result))
    return 1 if missed_gates(result) else 0


if __name__ == "__main__":
    sys.exit(main())
