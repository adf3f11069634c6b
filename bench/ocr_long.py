"""A long film read to its end: whether memory stays flat and no cue is lost: `make bench-ocr-long hours=2`.

The film is a minute that `bench.quality.ocr_films` burns, with a cue each eight seconds, played again and again. It is read from
its beginning; once more from a position behind its third quarter, as a process does that replaces a killed one, and both must say
the same; and a third time until its middle, where the reading is closed as a cancelled task's is: nothing of it may be left.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from bench.quality.ocr_films import Style, make
from bench.quality.ocr_texts import EN
from services.ocr.by_script import load
from services.ocr.engine import Engine
from services.ocr.reading import read_film
from services.ocr.reading_items import Options, Position, Progress, Result

_THREADS = 2
_STYLE = Style(
    "en long 360p",
    EN,
    "sintel_5s.mp4",
    360,
    20,
    "24000/1001",
    seconds=60,
    gap_frames=158,
    colour="&H0000FFFF",
)
_RESUMED_AT = 0.75
_CANCELLED_AT = 0.5
"""Shares of the film."""
_WARM, _WARM_SECONDS = 0.1, 180.0
"""Share of the film, or seconds if that is less, after which memory may not grow any more: each size of picture takes room once."""
_MOST_GROWTH_MIB = 64


def resident_mib() -> float:
    """Return what this process holds now."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024


def reading(
    engine: Engine, film: Path, begun: Position, sizes: list[tuple[float, float]], places: list[Position]
) -> Iterator[Result]:
    """Read a film; notes memory by film time, and positions to go on from."""
    for item in read_film(engine, film, Options(), begun):
        if isinstance(item, Progress):
            sizes.append((item.until, resident_mib()))
            if item.position is not None:
                places.append(item.position)
        else:
            yield item


def cpu_seconds() -> float:
    """Return what this process has taken of processors, all its threads together."""
    return time.process_time()


def cancelled(engine: Engine, film: Path, at: float) -> dict[str, object]:
    """Begin to read and close the reading at a time of the film; returns what that leaves behind, and how long it takes."""
    before = _held()
    items = read_film(engine, film, Options())
    for item in items:
        if isinstance(item, Progress) and item.until >= at:
            break
    began = time.perf_counter()
    items.close()  # type: ignore[attr-defined]
    took = time.perf_counter() - began
    gc.collect()
    threads, files, memory = (now - then for now, then in zip(_held(), before, strict=True))
    return {
        "long_cancel_seconds": round(took, 2),
        "long_cancel_threads_left": threads,
        "long_cancel_files_left": files,
        "long_cancel_mib_left": round(memory),
    }


def _held() -> tuple[int, int, float]:
    return threading.active_count(), len(list(Path("/proc/self/fd").iterdir())), resident_mib()


def main() -> int:
    """Run; returns the exit status: 1 when memory grew or anything was lost or left."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=0.2)
    hours: float = parser.parse_args().hours
    rounds = max(2, round(hours * 3600 / _STYLE.seconds))
    with tempfile.TemporaryDirectory() as folder:
        short = make(_STYLE, Path(folder))
        film = Path(folder, "long.mkv")
        copied = ["-stream_loop", str(rounds - 1), "-i", str(short.path), "-c", "copy", str(film)]
        subprocess.run(["ffmpeg", "-v", "error", *copied], check=True)
        engine = load(_THREADS)
        sizes, places = list[tuple[float, float]](), list[Position]()
        began, used = time.perf_counter(), cpu_seconds()
        (whole,) = reading(engine, film, Position(), sizes, places)
        took, used = time.perf_counter() - began, cpu_seconds() - used
        (again,) = reading(engine, film, places[int(_RESUMED_AT * len(places))], [], [])
        length = sizes[-1][0]
        left = cancelled(engine, film, _CANCELLED_AT * length)
    wanted = [one.text for one in short.truth] * rounds
    said = [cue.text for cue in whole.cues]
    warm = max((size for at, size in sizes if at <= max(_WARM * length, _WARM_SECONDS)), default=sizes[0][1])
    growth = max(size for _, size in sizes) - warm
    for at, size in sizes[:: max(1, len(sizes) // 12)]:
        print(f"    {at / 60:6.1f} min  {size:6.0f} MiB")
    figures: dict[str, object] = {
        "long_minutes": round(length / 60, 1),
        "long_cues": len(said),
        "long_wrong_cues": sum(one != other for one, other in zip(said, wanted, strict=False))
        + abs(len(said) - len(wanted)),
        "long_resumed_differs": int(
            [(c.start, c.end, c.text) for c in again.cues] != [(c.start, c.end, c.text) for c in whole.cues]
        ),
        "long_rss_growth_mib": round(growth),
        "long_x_realtime": round(length / took, 2),
        "long_x_realtime_by_cpu": round(_THREADS * length / used, 2),
        "long_calls_per_cue": round(whole.figures.runs.calls / max(1, len(said)), 2),
        **left,
    }
    print("RESULT " + json.dumps(figures))
    most = {"long_wrong_cues": 0, "long_resumed_differs": 0, "long_rss_growth_mib": _MOST_GROWTH_MIB, "long_cancel_threads_left": 0,
            "long_cancel_files_left": 0, "long_cancel_mib_left": _MOST_GROWTH_MIB}  # fmt: skip
    missed = [
        f"{name} {figures[name]} > {bound}"
        for name, bound in most.items()
        if float(str(figures[name])) > bound
    ]
    print(*(f"missed: {one}" for one in missed), sep="\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
