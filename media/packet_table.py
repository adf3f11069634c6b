"""What the packets of a film say before a frame is decoded: when each is shown, which are key frames, where the clock breaks.

Reading them costs the reading of the file and nothing else. A header's duration and rate are estimates; these times are not.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import count
from pathlib import Path

from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from media.clock_breaks import Shift, Stamp, find_shifts
from media.opening import listen_only_to, opened, packets_of

_KINDS = ("video", "audio")
_WITHOUT_TIMES = frozenset(
    (
        "avi",
        "h261",
        "h263",
        "h264",
        "hevc",
        "vvc",
        "m4v",
        "mjpeg",
        "mpegvideo",
        "vc1",
        "cavsvideo",
        "dirac",
        "obu",
    )
)
"""Formats in which a packet does not say when it is shown: what libav says there is a guess that is off by a decoder's delay."""
_NONE = -(1 << 63)
_ZERO = array("q", (0,))
"""Where a packet says nothing; libav's own value for it."""
_USUAL_RATE = Fraction(25)


@dataclass(frozen=True)
class PacketTable:
    """One stream's frames in the order in which they are shown. A tick is `time_base` seconds on the container's clock."""

    time_base: Fraction
    ticks: array[int]
    """When each frame is shown, breaks of the clock bridged."""
    keys: array[int]
    """Those of the key frames."""
    end_tick: int
    """When the last frame has been shown."""
    has_times: bool
    """Whether packets say when they are shown (AVI and raw streams do not: there frames are counted)."""
    shifts: tuple[Shift, ...] = ()
    """How packets read in the file's order must be moved."""

    def seconds(self, tick: int) -> float:
        """Return a tick's time on the container's clock."""
        return float(tick * self.time_base)


class _Rows:
    """One stream's packets, some 25 bytes each: a day of film must not be a matter of memory."""

    def __init__(self) -> None:
        self.pts, self.dts, self.durations = array("q"), array("q"), array("q")
        self.is_key = bytearray()

    def add(self, packet: Packet[Stream]) -> None:
        self.pts.append(_NONE if packet.pts is None else packet.pts)
        self.dts.append(_NONE if packet.dts is None else packet.dts)
        self.durations.append(packet.duration or 0)
        self.is_key.append(packet.is_keyframe)


def read_table(path: Path, stream_index: int, *, breaks: bool) -> PacketTable:
    """Read all packets of a stream; with `breaks` those of all streams, and find where their common clock breaks.

    Raises:
        MediaFault: MEDIA_UNREADABLE.
    """
    with opened(path) as container:
        stream = container.streams[stream_index]
        if not breaks:
            listen_only_to(container, stream)
        rows = _Rows()
        heard: dict[int, list[Stamp]] = {one.index: [] for one in container.streams if one.type in _KINDS}
        for packet in packets_of(container):
            if not packet.size:
                continue
            if breaks and packet.stream_index in heard:
                heard[packet.stream_index].append(_stamp(packet, heard[packet.stream_index]))
            if packet.stream_index == stream_index and not packet.is_discard:
                rows.add(packet)
        is_counted = not _WITHOUT_TIMES.isdisjoint(container.format.name.split(","))
        return _table(stream, rows, is_counted, find_shifts(heard).get(stream_index, ()) if breaks else ())


def _stamp(packet: Packet[Stream], before: list[Stamp]) -> Stamp:
    start = packet.dts if packet.dts is not None else packet.pts
    if start is None:
        end = before[-1].end if before else 0.0
        return Stamp(end, end)
    seconds = float(start * packet.time_base)
    return Stamp(seconds, seconds + float((packet.duration or 0) * packet.time_base))


def _table(stream: Stream, rows: _Rows, is_counted: bool, shifts: tuple[Shift, ...]) -> PacketTable:
    base = stream.time_base or Fraction(1, 1_000_000)
    rate = (
        stream.average_rate or stream.guessed_rate if isinstance(stream, VideoStream) else None
    ) or _USUAL_RATE
    step = max(1, round(1 / (rate * base)))
    count = len(rows.pts)
    has_times = not is_counted and count - rows.pts.count(_NONE) > count / 2
    if has_times:
        times = rows.pts
    elif _NONE not in rows.dts and rows.dts[:1] == _ZERO:
        # An AVI that begins with an empty chunk gives its place to the first frame: the film begins with that frame.
        late = max(0, rows.dts[1] - step) if count > 1 else 0
        times = array("q", (max(0, dts - late) for dts in rows.dts))
    else:
        times = array("q", (number * step for number in range(count)))
    ticks, keys = array("q"), array("q")
    end = 0
    for time, duration, is_key, by in zip(
        times, rows.durations, rows.is_key, moves(shifts, base), strict=False
    ):
        if time == _NONE:
            continue
        ticks.append(time + by)
        if is_key:
            keys.append(time + by)
        end = max(end, time + by + (duration or step))
    return PacketTable(
        time_base=base,
        ticks=array("q", sorted(ticks)),
        keys=array("q", sorted(keys)),
        end_tick=end,
        has_times=has_times,
        shifts=shifts,
    )


def moves(shifts: tuple[Shift, ...], time_base: Fraction) -> Iterator[int]:
    """Yield by how many ticks each packet of a stream is to be moved, first to last, without end."""
    coming = list(shifts)
    by = 0
    for number in count():
        if coming and number >= coming[0].first:
            by = round(coming.pop(0).seconds / time_base)
        yield by
