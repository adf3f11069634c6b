"""Subtitles moved to the speech of a recording: `python -m bench.quality.text_sync`.

The lines of the sonnet (../shared/media/asr) are damaged by offsets, frame rates and cuts and mended by `wservice.fix_subtitles`
with `sync_to`. What is measured is how far the starts then are from the true ones. Prices and the least fit were chosen on speech
that flite made, in noise of 30 to 3 dB; that a cue behind the end of the film costs more than a bad one was learnt from a miss on
the sonnet, so that its figures are not held out. Those called fresh are: of recordings that nothing was chosen on
(`sync_material.py`). Cuts leave four lines or more on each side: of fewer no place can be told. Ends with `RESULT {...}`, and with
status 1 when the gate of 120 ms at p95 is missed for any kind of damage of the sonnet, or on any fresh recording.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from pathlib import Path

from bench.quality.sync_material import Material, fresh_material
from nodekit.testkit import NodeUnderTest
from services.subtitle.node import node
from subtitles.cue import Cue
from subtitles.reading import parse_text, read_document
from subtitles.retiming import Retiming, retime
from subtitles.score import percentile
from subtitles.writing import to_srt

MEDIA = Path(__file__).resolve().parents[3] / "shared" / "media"
GATE_MS = 120.0
_OFFSETS = (-7.7, -1.3, 0.5, 4.2, 20.0, 45.0)
_RATES = (23.976 / 25, 25 / 23.976, 24 / 25, 25 / 24)
_CUTS = ((4, 10.0), (5, 3.0), (7, 0.6), (9, 6.0), (10, 1.2))
"""After how many lines, and how much longer the film was that the subtitles were made for."""


def damages(truth: list[Cue]) -> dict[str, list[list[Cue]]]:
    """Return damaged versions of the cues, by kind; of fewer than nine none is cut."""
    places = [(place, seconds) for place, seconds in _CUTS if place + 4 <= len(truth)]
    cuts = [truth[:place] + retime(truth[place:], Retiming(1, seconds)) for place, seconds in places]
    if len(truth) < 13:
        return {
            "offset": [retime(truth, Retiming(1, offset)) for offset in _OFFSETS if abs(offset) < 10],
            "rate": [retime(truth, Retiming(rate)) for rate in _RATES],
            **({"cut": cuts} if cuts else {}),
            "none": [truth],
        }
    twice = truth[:4] + retime(truth[4:9], Retiming(1, 2.5)) + retime(truth[9:], Retiming(1, 6.0))
    mixed = [retime(cues, Retiming(25 / 23.976, -3.0)) for cues in (truth, cuts[1])]
    return {
        "offset": [retime(truth, Retiming(1, offset)) for offset in _OFFSETS],
        "rate": [retime(truth, Retiming(rate)) for rate in _RATES],
        "cut": [*cuts, twice],
        "mixed": mixed,
        "none": [truth],
    }


async def measure(folder: Path) -> dict[str, float]:
    """Return the error at p95 for each kind of damage, in milliseconds; of the fresh recordings by recording."""
    # The first entry is the number of the sonnet, which nobody can be early or late for.
    truth = [cue for cue in read_document(MEDIA / "asr/sonnet001.gt.srt").cues if cue.plain != "1"]
    sonnet = Material("sonnet", MEDIA / "asr/sonnet001.mp3", truth)
    async with NodeUnderTest(node, folder, allowed_roots=(MEDIA,)) as under_test:
        by_kind = await errors_of(under_test, folder, sonnet)
        figures = {f"sync_{kind}_p95_ms": p95(errors) for kind, errors in by_kind.items()}
        figures["sync_error_p95_ms"] = p95([one for errors in by_kind.values() for one in errors])
        fresh: list[float] = []
        for material in fresh_material(folder):
            errors = [
                one for found in (await errors_of(under_test, folder, material)).values() for one in found
            ]
            figures[f"sync_fresh_{material.name}_p95_ms"] = p95(errors)
            fresh += errors
    return {**figures, "sync_fresh_p95_ms": p95(fresh)}


def p95(errors: list[float]) -> float:
    """Return the error at p95, rounded."""
    return round(percentile(errors, 0.95) or 0.0, 1)


async def errors_of(under_test: NodeUnderTest, folder: Path, material: Material) -> dict[str, list[float]]:
    """Return how far starts are from the true ones after every damage of a recording's cues was mended, in milliseconds."""
    truth = material.cues
    found_errors: dict[str, list[float]] = {}
    number = 0
    for kind, versions in damages(truth).items():
        errors: list[float] = []
        for cues in versions:
            number += 1
            source = folder / f"{material.name}-{number}.srt"
            first = min((cue.start for cue in cues if cue.start < 0), default=0.0)
            source.write_text(to_srt(retime(cues, Retiming(1, -first))), encoding="utf-8")
            wanted = {
                "subtitle_path": str(source),
                "sync_to": str(material.sound),
                "readable": False,
            }
            result = await under_test.run(
                "wservice.fix_subtitles", wanted, task_id=f"{material.name}-{number}"
            )
            if result.outcome != "completed":
                raise SystemExit(f"{material.name} {kind}: {result.error.code} {result.error.message}")
            mended = parse_text(result.file("fixed_subtitle_path").read_text(encoding="utf-8"))
            found = [abs(one.start - true.start) * 1000 for one, true in zip(mended, truth, strict=True)]
            print(f"  {material.name} {kind}: {max(found):.0f} ms at most, {result.output['sync']}")
            errors += found
        found_errors[kind] = errors
    return found_errors


def main() -> int:
    """Measure, print, judge."""
    with tempfile.TemporaryDirectory() as name:
        figures = asyncio.run(measure(Path(name)))
    print("RESULT " + json.dumps(figures))
    return 1 if any(value > GATE_MS for value in figures.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
