"""What a stream's packets tell without decoding one: times, the end, how far key frames lie apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


async def last_packet_end(runner: Runner, path: Path, stream_index: int) -> float:
    """Return when the last packet of a stream ends, in container seconds; 0.0 when it has none."""
    end = 0.0

    def take(line: str) -> None:
        nonlocal end
        pts, _, duration = line.partition(",")
        end = max(end, (to_seconds(pts) or 0.0) + (to_seconds(duration) or 0.0))

    await _read_packets(runner, path, stream_index, "packet=pts_time,duration_time", take)
    return end


async def packet_times(runner: Runner, path: Path, stream_index: int) -> list[float]:
    """Return every packet's presentation time in container seconds, in order."""
    times: list[float] = []

    def take(line: str) -> None:
        pts = to_seconds(line.rstrip(","))
        if pts is not None:
            times.append(pts)

    await _read_packets(runner, path, stream_index, "packet=pts_time", take)
    return sorted(times)


async def key_spacing_seconds(runner: Runner, path: Path, stream_index: int) -> float | None:
    """Return the mean time between key frames in the stream's first minute; None when there are fewer than two."""
    keys: list[float] = []

    def take(line: str) -> None:
        pts, _, flags = line.partition(",")
        seconds = to_seconds(pts)
        if flags.startswith("K") and seconds is not None:
            keys.append(seconds)

    first_minute = ["-read_intervals", "%+60"]
    await _read_packets(runner, path, stream_index, "packet=pts_time,flags", take, first_minute)
    return (max(keys) - min(keys)) / (len(keys) - 1) if len(keys) > 1 else None


async def _read_packets(
    runner: Runner,
    path: Path,
    stream_index: int,
    entries: str,
    take: Callable[[str], None],
    within: Sequence[str] = (),
) -> None:
    shown = [*within, "-select_streams", str(stream_index), "-show_entries", entries, "-of", "csv=p=0"]
    await run_ffprobe(runner, [*lock_arguments(), *shown, "-i", address(path)], take)
