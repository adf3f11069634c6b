"""One film through the decoder: packets are read first and tell what to take, then the frames are taken as they pass."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.filter import Graph
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from media.faults import FaultCode, MediaFault
from media.frames import FrameReader, TimedFrame
from media.opening import opened
from media.packet_table import PacketTable, read_table
from media.rendering import Renderer, deinterlaced
from services.ffmpeg.frame_choice import DEFAULT_COUNT, at_rate, evenly, shown_at
from services.ffmpeg.frame_hashes import HASH_SIDE
from services.ffmpeg.frame_job import HASHES, FrameJob, FrameReport, write_times
from services.ffmpeg.picture_files import picture_files

Show = Callable[[float], None]
"""Takes the share done, 0 to 1."""

_SEEK_PAYS_SECONDS = 1.0
"""Less than this is decoded rather than passed over."""


def decode(job: FrameJob, show: Show) -> FrameReport:
    """Do the job. Raises MediaFault, and OSError when pictures cannot be written."""
    video = Path(job.video)
    table = read_table(video, job.stream_index, breaks=job.has_free_clock)
    if not table.ticks:
        raise MediaFault(FaultCode.NO_FRAMES, f"{video.name} has a video stream without a single packet")
    with ExitStack() as stack:
        container = stack.enter_context(opened(video, cuda=job.cuda))
        stream = container.streams[job.stream_index]
        if not isinstance(stream, VideoStream):
            raise MediaFault(FaultCode.STREAM_NOT_FOUND, f"stream {job.stream_index} is not read here")
        files = stack.enter_context(picture_files(Path(job.folder), job.names, job.output, job.quality))
        hashes = stack.enter_context(Path(job.folder, HASHES).open("wb")) if job.hashes else None
        passage = _Passage(job, container, stream, table)
        renderer = Renderer(job.look)
        times: list[float] = []
        for seconds, frame in passage.chosen(show):
            picture = renderer.render(frame)
            if hashes:
                hashes.write(_small(picture))
            files.write(picture, seconds)
            times.append(seconds)
    write_times(Path(job.folder), times)
    return FrameReport(
        times=(),
        packets_end_seconds=passage.seconds(table.end_tick),
        refused=passage.damage[0],
        patched=passage.damage[1],
        breaks_seconds=tuple(
            passage.seconds(table.ticks[min(shift.first, len(table.ticks) - 1)]) for shift in table.shifts
        ),
        decoder="cuda" if stream.codec_context.is_hwaccel else "cpu",
        tone_mapped=renderer.tone_mapped,
        seeks=passage.seeks,
    )


class _Passage:
    """One way through the film, which takes what the job asks for."""

    def __init__(
        self, job: FrameJob, container: InputContainer, stream: VideoStream, table: PacketTable
    ) -> None:
        self._job, self._container, self._table = job, container, table
        self._reader = FrameReader(container, stream, table, job.threads, keys_only=job.mode == "iframe")
        self._stream = stream
        self._origin = Fraction(job.origin_seconds).limit_denominator(1_000_000_000)
        self.frames = 0
        self.seeks = 0

    @property
    def damage(self) -> tuple[int, int]:
        """Packets refused, frames patched."""
        return self._reader.damage.refused, self._reader.damage.patched

    def seconds(self, tick: int) -> float:
        """Return a tick's time on the film's clock."""
        return round(float(tick * self._table.time_base - self._origin), 6)

    def chosen(self, show: Show) -> Iterator[tuple[float, VideoFrame]]:
        """Yield what is to be written, with its time."""
        wanted = self._wanted()
        if wanted is None:
            passing = self._seen(deinterlaced(self._reader.frames(), self._table.time_base), show)
            if self._job.mode == "scene":
                passing = _first_of_shots(passing, self._job.scene_threshold)
            for one in passing:
                yield self.seconds(one.tick), one.frame
            return
        for done, one in enumerate(self._taken(wanted, show), start=1):
            yield self.seconds(one.tick), one.frame
            if self.seeks:
                show(done / len(wanted))

    def _wanted(self) -> list[int] | None:
        """Return the ticks of the frames to take; None: they show only when they are decoded, or all are."""
        job, ticks = self._job, self._table.ticks
        times = [self.seconds(tick) for tick in ticks]
        match job.mode:
            case "timestamps":
                end = max(job.end_seconds, self.seconds(self._table.end_tick))
                numbers = shown_at(times, job.timestamps, end, Path(job.video).name)
            case "uniform" if job.fps is not None:
                numbers = at_rate(times, job.fps)
            case "uniform":
                numbers = evenly(times, self.seconds(self._table.end_tick), job.count or DEFAULT_COUNT)
            case _:
                return None
        return [ticks[number] for number in numbers]

    def _taken(self, wanted: list[int], show: Show) -> Iterator[TimedFrame]:
        """Yield the first frame at or after each wanted tick; where frames are damaged, the next whole one."""
        left = list(reversed(wanted))
        while left:
            position = self._go_near(left[-1])
            for one in self._seen(deinterlaced(self._reader.frames(), self._table.time_base), show):
                if position is not None and one.tick > position and one.tick > left[-1]:
                    # The seek has gone too far: this format cannot do it.
                    self._start_over()
                    break
                position = None
                if one.tick >= left[-1]:
                    yield one
                    while left and left[-1] <= one.tick:
                        left.pop()
                    if not left or self._pays(left[-1], one.tick):
                        break
            else:
                return

    def _key_before(self, tick: int) -> int | None:
        place = bisect_right(self._table.keys, tick)
        return self._table.keys[place - 1] if place else None

    def _pays(self, tick: int, position: int) -> bool:
        """Whether a seek to a frame spares more than it costs."""
        job, table = self._job, self._table
        if not job.seek or job.has_free_clock or not table.has_times:
            return False
        key = self._key_before(tick)
        return key is not None and (key - position) * table.time_base > _SEEK_PAYS_SECONDS

    def _go_near(self, tick: int) -> int | None:
        """Stand before a frame; returns the tick at which decoding should begin, None when nothing was sought."""
        if not self._job.seek or (self.frames == 0 and not self._pays(tick, self._table.ticks[0])):
            return None
        key = self._key_before(tick)
        assert key is not None
        try:
            self._container.seek(key, stream=self._stream)
        except av.error.FFmpegError:
            self._start_over()
            return None
        self.seeks += 1
        return key

    def _start_over(self) -> None:
        self._job = replace(self._job, seek=False)
        self.seeks = 0
        self._container.seek(self._table.ticks[0], stream=self._stream)

    def _seen(self, frames: Iterable[TimedFrame], show: Show) -> Iterator[TimedFrame]:
        first, table = self._table.ticks[0], self._table
        span = max(1, table.end_tick - first)
        for one in frames:
            self.frames += 1
            if not self.seeks:
                show((one.tick - first) / span)
            yield one


def _first_of_shots(frames: Iterable[TimedFrame], threshold: float) -> Iterator[TimedFrame]:
    """Yield the first frame of each shot: the first of all, those that differ as ffmpeg's `scene` measures."""
    graph: Graph | None = None
    kind: tuple[object, ...] = ()
    for one in frames:
        frame = one.frame
        looks = (frame.width, frame.height, frame.format.name)
        is_new = graph is None or looks != kind
        if graph is None or is_new:
            graph, kind = _scene_graph(frame, threshold), looks
        frame.pts, frame.time_base = one.tick, Fraction(1, 1_000_000)
        graph.vpush(frame)
        try:
            graph.vpull()
        except av.error.BlockingIOError:
            if not is_new:
                continue
        yield one


def _scene_graph(frame: VideoFrame, threshold: float) -> Graph:
    graph = Graph()
    source = (
        f"video_size={frame.width}x{frame.height}:pix_fmt={frame.format.name}:time_base=1/1000000"
        f":colorspace={frame.colorspace}:range={frame.color_range}"
    )
    parts = [("buffer", source), ("select", f"gt(scene,{threshold})"), ("buffersink", None)]
    graph.link_nodes(*(graph.add(name, arguments) for name, arguments in parts)).configure()
    return graph


def _small(picture: VideoFrame) -> bytes:
    grey = picture.reformat(HASH_SIDE, HASH_SIDE, "gray", interpolation="AREA")
    return grey.to_ndarray().tobytes()
