"""The frames of a film as they are decoded: each with its own time, and a count of what could not be decoded."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from av.codec.context import ThreadType
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from media.opening import listen_only_to, packets_of
from media.packet_table import PacketTable, moves


@dataclass
class Damage:
    """What was lost while decoding."""

    refused: int = 0
    """Packets that the decoder could make nothing of, whole frames behind them: not the piece at the end of a film that is cut."""
    patched: int = 0
    """Frames with parts that the decoder had to guess."""


@dataclass(frozen=True)
class TimedFrame:
    """One decoded frame."""

    tick: int
    """When it is shown, in the table's time base."""
    frame: VideoFrame


class FrameReader:
    """Decodes one stream in the order in which its frames are shown."""

    def __init__(
        self,
        container: InputContainer,
        stream: VideoStream,
        table: PacketTable | None,
        threads: int = 0,
        keys_only: bool = False,
    ) -> None:
        """Without a table the packets' own times are taken as they are; `threads` 0: as many as there are processors."""
        self.damage = Damage()
        self._just_refused = 0
        self._container, self._stream, self._table = container, stream, table
        self._keys_only = keys_only
        context = stream.codec_context
        context.thread_type = ThreadType.AUTO
        context.thread_count = threads
        if keys_only:
            context.skip_frame = "NONKEY"
        if table is None or not table.shifts:
            listen_only_to(container, stream)

    def frames(self) -> Iterator[TimedFrame]:
        """Yield the frames from where the container stands to its end."""
        table = self._table
        shifts = moves(table.shifts, table.time_base) if table and table.shifts else None
        counted = iter(()) if table is None or table.has_times else iter(self._shown(table))
        by_count = table is not None and not table.has_times
        for packet in packets_of(self._container):
            if packet.stream_index != self._stream.index:
                continue
            if shifts is not None and packet.size:
                by = next(shifts)
                packet.pts = None if packet.pts is None else packet.pts + by
                packet.dts = None if packet.dts is None else packet.dts + by
            for frame in self._decoded(packet):
                tick = next(counted, None) if by_count else frame.pts if frame.pts is not None else frame.dts
                if tick is not None:
                    yield TimedFrame(tick, frame)

    def _shown(self, table: PacketTable) -> array[int]:
        return table.keys if self._keys_only else table.ticks

    def _decoded(self, packet: Packet[Any]) -> list[VideoFrame]:
        try:
            frames: list[VideoFrame] = self._stream.codec_context.decode(packet)
        except FFmpegError:
            self._just_refused += 1
            return []
        if frames:
            self.damage.refused += self._just_refused
            self._just_refused = 0
        self.damage.patched += sum(frame.is_corrupt for frame in frames)
        return frames
