"""How long a file is whose header does not say: its packets do, without decoding one."""

from __future__ import annotations

from pathlib import Path

from media.probe import MediaFacts, probe, to_seconds
from media.process import Runner, run_ffprobe
from media.source import address, lock_arguments


async def probe_timed(runner: Runner, path: Path) -> MediaFacts:
    """Probe, and where the header has no duration find it by reading all packets (no decoding)."""
    facts = await probe(runner, path)
    if facts.duration_seconds is not None or not (facts.videos or facts.audios):
        return facts
    stream = (facts.videos or facts.audios)[0].index
    end = await last_packet_end(runner, path, stream)
    return facts.with_duration(max(0.0, end - facts.first_seconds))


async def last_packet_end(runner: Runner, path: Path, stream_index: int | None = None) -> float:
    """Return when the last packet of a stream, or of all, ends, in container seconds; 0.0 when there is none."""
    end = 0.0

    def take(line: str) -> None:
        nonlocal end
        pts, _, duration = line.partition(",")
        end = max(end, (to_seconds(pts) or 0.0) + (to_seconds(duration) or 0.0))

    shown = ["-show_entries", "packet=pts_time,duration_time"]
    if stream_index is not None:
        shown += ["-select_streams", str(stream_index)]
    await run_ffprobe(runner, [*lock_arguments(), *shown, "-of", "csv=p=0", "-i", address(path)], take)
    return end
