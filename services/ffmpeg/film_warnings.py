"""What a client is told of a film that was not quite whole, or that was shown otherwise than it was stored."""

from __future__ import annotations

from media.probe import MediaFacts, VideoStream
from media.promise import promise_of
from services.ffmpeg.frame_job import FrameReport


def film_warnings(facts: MediaFacts, stream: VideoStream, report: FrameReport) -> tuple[str, ...]:
    """Return the lines for people; none for a sound film."""
    found = [*_damage(facts, report), *_clock(facts, report), *_short(facts, stream, report)]
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


def _short(facts: MediaFacts, stream: VideoStream, report: FrameReport) -> list[str]:
    """Return a warning when the packets that are there end well before the time that the headers promise."""
    promise = promise_of(facts, stream)
    if promise is None or report.breaks_seconds:
        return []
    begins = (stream.start_seconds or 0.0) - facts.clock_origin_seconds
    line = promise.broken(report.packets_end_seconds - begins, begins)
    return [line] if line else []
