"""A long film read to its end: whether memory stays flat and no cue is lost: `make bench-ocr-long minutes=120`.

The film is one that `bench.quality.ocr_films` burns, played again and again. It is read once from its beginning, and once more from
a position in its middle, as a process does that replaces a killed one: both must say the same.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.quality.ocr_films import STYLES, make
from services.ocr.by_script import load
from services.ocr.engine import Engine
from services.ocr.reading import read_film
from services.ocr.reading_items import Options, Position, Progress, Result

_THREADS = 2
_STYLE = "en yellow 360p"
_WARM = 0.1
"""Share of the film after which memory may not grow any more."""
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


def main() -> int:
    """Run; returns the exit status: 1 when memory grew or anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=120)
    minutes: float = parser.parse_args().minutes
    style = next(one for one in STYLES if one.name == _STYLE)
    rounds = max(2, round(minutes * 60 / style.seconds))
    with tempfile.TemporaryDirectory() as folder:
        short = make(style, Path(folder))
        film = Path(folder, "long.mkv")
        copied = ["-stream_loop", str(rounds - 1), "-i", str(short.path), "-c", "copy", str(film)]
        subprocess.run(["ffmpeg", "-v", "error", *copied], check=True)
        engine = load(_THREADS)
        sizes, places = list[tuple[float, float]](), list[Position]()
        began = time.perf_counter()
        (whole,) = reading(engine, film, Position(), sizes, places)
        took = time.perf_counter() - began
        (again,) = reading(engine, film, places[len(places) // 2], [], [])
    wanted = [one.text for one in short.truth] * rounds
    said = [cue.text for cue in whole.cues]
    length = sizes[-1][0]
    warm = max((size for at, size in sizes if at <= _WARM * length), default=sizes[0][1])
    growth = max(size for _, size in sizes) - warm
    for at, size in sizes[:: max(1, len(sizes) // 12)]:
        print(f"    {at / 60:6.1f} min  {size:6.0f} MiB")
    figures = {
        "long_minutes": round(length / 60, 1),
        "long_cues": len(said),
        "long_wrong_cues": sum(one != other for one, other in zip(said, wanted, strict=False))
        + abs(len(said) - len(wanted)),
        "long_resumed_differs": int(
            [(c.start, c.end, c.text) for c in again.cues] != [(c.start, c.end, c.text) for c in whole.cues]
        ),
        "long_rss_growth_mib": round(growth),
        "long_x_realtime": round(length / took, 2),
        "long_calls_per_cue": round(whole.figures.runs.calls / max(1, len(said)), 2),
    }
    print("RESULT " + json.dumps(figures))
    bad = figures["long_wrong_cues"] or figures["long_resumed_differs"] or growth > _MOST_GROWTH_MIB
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
