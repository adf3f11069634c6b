"""What a client is told of a film that was not quite whole, or that was shown otherwise than it was stored."""

from __future__ import annotations

from pathlib import Path

from media.probe import MediaFacts, VideoStream
from media.process import Runner
from media.promise import cut_off
from services.ffmpeg.frame_job import FrameReport


async def film_warnings(
    runner: Runner, film: Path, facts: MediaFacts, stream: VideoStream, report: FrameReport
) -> tuple[str, ...]:
    """Return the lines for people; none for a sound film."""
    found = [
        *_damage(facts, report),
        *_clock(facts, report),
        *await _short(runner, film, facts, stream, report),
    ]
    if report.tone_mapped:
        found.append(f"{facts.name} has a high dynamic range: its pictures were made for ordinary screens")
    return tuple(found)


def _damage(facts: MediaFacts, report: FrameReport) -> list[str]:
    if not report.refused and not report.patched:
        return []
    return [
        f"{facts.name} is damaged: {report.refused} pieces of it could not be decoded, and of {report.patched} pictures parts "
        "are guessed"
    ]


def _clock(facts: MediaFacts, report: FrameReport) -> list[str]:
    return [
        f"the clock of {facts.name} breaks at {seconds:.3f} s: what follows was joined to what came before"
        for seconds in report.breaks_seconds
    ]


async def _short(
    runner: Runner, film: Path, facts: MediaFacts, stream: VideoStream, report: FrameReport
) -> tuple[str, ...]:
    """Return a warning when the packets that are there end well before the time that the headers promise."""
    if report.breaks_seconds:
        return ()
    begins = facts.begins_seconds(stream)
    return await cut_off(runner, film, facts, stream, report.packets_end_seconds - begins, begins)
