"""One audio track as plain samples, each at its own time, whatever its frames turn into midway.

A frame's own rate, layout and time are looked at: a track that goes from 5.1 to stereo is resampled by two resamplers, and
what follows a hole, a jump of the clock or damage lies where it belongs. Short disagreements between a track's times and its
samples are a muxer's rounding; only when they add up to a tenth of a second is silence put in, or sound left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.filter import Graph

from media.faults import FaultCode, MediaFault
from media.opening import listen_only_to, opened, packets_of
from media.packet_table import PacketTable, moves, read_table
from media.pcm import SAMPLE_BYTES, start_wave
from media.sound_job import SoundJob, SoundReport

STEP_SECONDS = 0.1
"""The least disagreement that is set right; what ffmpeg's `aresample=async=1` takes for a hole."""
_SEEK_MARGIN_SECONDS = 2.0
_SILENCE_BYTES = 1 << 20

Show = Callable[[float], None]
"""Takes the share done, 0 to 1."""


def decode_sound(job: SoundJob, show: Show) -> SoundReport:
    """Write the samples. Raises MediaFault, and OSError when they cannot be written."""
    source = Path(job.source)
    table = read_table(source, job.stream_index, breaks=True) if job.has_free_clock else None
    with opened(source) as container, Path(job.target).open("wb") as file:
        if job.wave:
            start_wave(file, job.sample_rate, job.channels)
        stream = container.streams[job.stream_index]
        if not isinstance(stream, AudioStream):
            raise MediaFault(FaultCode.STREAM_NOT_FOUND, f"stream {job.stream_index} is not read here")
        if stream.codec_context is None:
            raise MediaFault(
                FaultCode.CODEC_UNSUPPORTED,
                f"no decoder here reads stream {job.stream_index} of {source.name}",
            )
        place = _Place(file, job)
        frames = _Frames(container, stream, table, job)
        for seconds, frame in frames.all():
            if not place.take(seconds, frame):
                break
            show((seconds - job.start_seconds) / (job.expected_seconds or float("inf")))
        place.finish()
        if job.wave:
            start_wave(file, job.sample_rate, job.channels, place.written)
    return SoundReport(
        end_seconds=place.end_seconds,
        first_seconds=place.first_seconds,
        refused=frames.refused,
        breaks=len(table.shifts) if table else 0,
    )


class _Frames:
    """The frames of a track, each with its time on the film's clock."""

    def __init__(
        self, container: InputContainer, stream: AudioStream, table: PacketTable | None, job: SoundJob
    ) -> None:
        self._container, self._stream, self._table, self._job = container, stream, table, job
        self.refused = 0
        if table is None or not table.shifts:
            listen_only_to(container, stream)
        if table is None and job.start_seconds > _SEEK_MARGIN_SECONDS and stream.time_base:
            target = job.start_seconds + job.origin_seconds - _SEEK_MARGIN_SECONDS
            container.seek(int(target / stream.time_base), stream=stream)

    def all(self) -> Iterator[tuple[float, AudioFrame]]:
        """Yield them in order."""
        table, following, just_refused = self._table, None, 0
        shifts = moves(table.shifts, table.time_base) if table and table.shifts else None
        for packet in packets_of(self._container):
            if packet.stream_index != self._stream.index:
                continue
            if shifts is not None and packet.size:
                by = next(shifts)
                packet.pts = None if packet.pts is None else packet.pts + by
                packet.dts = None if packet.dts is None else packet.dts + by
            try:
                frames = self._stream.codec_context.decode(packet)
            except av.error.FFmpegError:
                just_refused += 1
                continue
            if frames:
                # A piece at the very end is that of a film that is cut, no damage within.
                self.refused += just_refused
                just_refused = 0
            for frame in frames:
                if frame.pts is not None and frame.time_base is not None:
                    seconds = float(frame.pts * frame.time_base) - self._job.origin_seconds
                elif following is not None:
                    seconds = following
                else:
                    seconds = 0.0
                following = seconds + frame.samples / frame.sample_rate
                yield seconds, frame


class _Place:
    """Puts frames where they belong in the file."""

    def __init__(self, file: BinaryIO, job: SoundJob) -> None:
        self._file, self._job = file, job
        self._limit = (
            None
            if job.end_seconds is None
            else round((job.end_seconds - job.start_seconds) * job.sample_rate)
        )
        self._begin = job.start_seconds
        self._resampler: Graph | None = None
        self._kind: tuple[object, ...] = ()
        self._due = 0.0
        self._skip = 0
        self.written = 0
        """Samples of a channel in the file."""
        self.first_seconds: float | None = None
        self.end_seconds = 0.0

    def take(self, seconds: float, frame: AudioFrame) -> bool:
        """Take the next frame; False: the end that was asked for is reached."""
        ends = seconds + frame.samples / frame.sample_rate
        if self.first_seconds is None:
            self.first_seconds = seconds
        self.end_seconds = max(self.end_seconds, ends)
        if ends <= self._begin:
            return True
        if self._resampler is None:
            if not self._job.keep_offset:
                self._begin = max(self._begin, seconds)
            self._stand_at(seconds)
        elif abs(seconds - self._due) > STEP_SECONDS:
            if ends < self._due:
                # All of it is sound that is there already.
                return True
            self._drain()
            self._stand_at(seconds)
        kind = (frame.sample_rate, frame.layout.name, frame.format.name)
        if self._resampler is None or kind != self._kind:
            self._drain()
            self._resampler, self._kind = _resampler(frame, self._job), kind
        self._due += frame.samples / frame.sample_rate
        frame.pts = None
        self._push(frame)
        return self._limit is None or self.written < self._limit

    def finish(self) -> None:
        """Write what the resampler still holds."""
        self._drain()

    def _stand_at(self, seconds: float) -> None:
        """Let the next sample be the one at a time: silence up to there, or so much of what comes left out."""
        position = round((seconds - self._begin) * self._job.sample_rate)
        self._due = seconds
        self._skip = max(0, self.written - position)
        missing = position - self.written
        if self._limit is not None:
            missing = min(missing, self._limit - self.written)
        while missing > 0:
            count = min(missing, _SILENCE_BYTES // SAMPLE_BYTES // self._job.channels)
            self._file.write(bytes(count * SAMPLE_BYTES * self._job.channels))
            self.written += count
            missing -= count

    def _drain(self) -> None:
        if self._resampler is not None:
            self._push(None)
            self._resampler = None

    def _push(self, frame: AudioFrame | None) -> None:
        assert self._resampler is not None
        self._resampler.push(frame)
        while True:
            try:
                ready = self._resampler.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            assert isinstance(ready, AudioFrame)
            self._write(ready)

    def _write(self, frame: AudioFrame) -> None:
        first = min(self._skip, frame.samples)
        self._skip -= first
        last = frame.samples
        if self._limit is not None:
            last = min(last, first + self._limit - self.written)
        if last > first:
            width = SAMPLE_BYTES * self._job.channels
            self._file.write(memoryview(frame.planes[0])[first * width : last * width])
            self.written += last - first


def _resampler(frame: AudioFrame, job: SoundJob) -> Graph:
    count = len(frame.layout.channels) or frame.layout.nb_channels
    source = (
        f"sample_rate={frame.sample_rate}:sample_fmt={frame.format.name}:channel_layout={_layout(frame)}"
        f":time_base=1/{frame.sample_rate}"
    )
    target = {1: "mono", 2: "stereo"}.get(job.channels, f"{job.channels}c")
    steps: list[tuple[str, str | None]] = [("abuffer", source)]
    if job.apart and job.channels > 2:
        target = f"{job.channels}C"
        own = (
            f"c{number}={'' if number < count else '0*'}c{min(number, count - 1)}"
            for number in range(job.channels)
        )
        steps.append(("pan", "|".join([target, *own])))
    elif not _is_known(frame) and job.channels <= 2 < count:
        # Nobody says where these channels stand (one microphone each, mostly): all of them are heard alike.
        everything = "+".join(f"{1 / count:.6f}*c{number}" for number in range(count))
        steps.append(("pan", "|".join([target, *(f"c{side}={everything}" for side in range(job.channels))])))
    steps += [
        ("aresample", f"{job.sample_rate}"),
        ("aformat", f"sample_fmts=s16:channel_layouts={target}"),
        ("abuffersink", None),
    ]
    graph = Graph()
    graph.link_nodes(*(graph.add(name, arguments) for name, arguments in steps)).configure()
    return graph


def _is_known(frame: AudioFrame) -> bool:
    return not frame.layout.name.endswith(" channels")


def _layout(frame: AudioFrame) -> str:
    """Return a layout that filters can be told; of few channels without one that which everybody means."""
    if _is_known(frame):
        return frame.layout.name
    count = frame.layout.nb_channels
    return {1: "mono", 2: "stereo"}.get(count, f"{count}C")
