"""A recording as what models hear: 16 kHz, 16 bits, one channel a file, which a worker maps and never holds whole."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nodekit import TaskContext
from services.asr.faults import AsrFault, FaultCode

SAMPLE_RATE = 16_000
_WHITELIST = "file"
_NO_STREAM = ("does not contain any stream", "matches no streams")


@dataclass(frozen=True)
class Recording:
    """Decoded sound: one file for each channel that is heard apart."""

    paths: tuple[Path, ...]
    """Raw 16-bit little-endian samples at 16 kHz."""
    duration: float
    """Seconds."""


async def count_channels(context: TaskContext, source: Path) -> int:
    """Return the channels of the first sound stream. Raises AsrFault."""
    lines: list[str] = []
    done = await context.run(
        [
            "ffprobe", "-v", "error", "-protocol_whitelist", _WHITELIST, "-select_streams", "a:0",
            "-show_entries", "stream=channels", "-of", "csv=p=0", f"file:{source}",
        ],
        on_line=lines.append,
    )  # fmt: skip
    if done.returncode != 0:
        raise _unreadable(source, done.stderr_tail)
    if not lines:
        raise AsrFault(FaultCode.NO_AUDIO_STREAM, f"{source.name} has no sound", "/audio_path")
    return int(lines[0].strip().strip(",") or 1)


async def decode(context: TaskContext, source: Path, *, apart: bool, max_seconds: float) -> Recording:
    """Decode the first sound stream: all channels mixed, or each into a file of its own. Raises AsrFault."""
    channels = await count_channels(context, source)
    count = channels if apart and channels > 1 else 1
    targets = tuple(context.output_path(f"sound-{number}.s16") for number in range(count))
    mapped = "".join(f"[c{number}]" for number in range(count))
    split = [f"[0:a:0]channelsplit=channel_layout={_layout(channels)}{mapped}"] if count > 1 else []
    argv = [
        "ffmpeg", "-nostdin", "-v", "error", "-y", "-protocol_whitelist", _WHITELIST,
        "-i", f"file:{source}",
        *(word for graph in split for word in ("-filter_complex", graph)),
    ]  # fmt: skip
    for number, target in enumerate(targets):
        chosen = f"[c{number}]" if count > 1 else "0:a:0"
        argv += ["-map", chosen, "-ac", "1", "-ar", str(SAMPLE_RATE), "-f", "s16le", "-c:a", "pcm_s16le"]
        argv += ["-t", str(max_seconds + 1), str(target)]
    done = await context.run(argv)
    if done.returncode != 0:
        raise _unreadable(source, done.stderr_tail)
    duration = max(target.stat().st_size for target in targets) / 2 / SAMPLE_RATE
    if duration > max_seconds:
        message = f"{source.name} is longer than {max_seconds / 3600:g} hours"
        raise AsrFault(FaultCode.AUDIO_TOO_LONG, message, "/audio_path")
    return Recording(targets, duration)


def _layout(channels: int) -> str:
    known = {2: "stereo", 3: "2.1", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
    return known.get(channels, f"{channels}c")


def _unreadable(source: Path, stderr: str) -> AsrFault:
    if any(mark in stderr for mark in _NO_STREAM):
        return AsrFault(FaultCode.NO_AUDIO_STREAM, f"{source.name} has no sound", "/audio_path")
    lines = [line for line in stderr.splitlines() if line.strip()]
    reason = lines[-1].replace(str(source), source.name).strip() if lines else "it is damaged"
    return AsrFault(FaultCode.MEDIA_UNREADABLE, f"{source.name} cannot be decoded: {reason}", "/audio_path")
