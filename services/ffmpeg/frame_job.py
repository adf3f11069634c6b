"""One film, the frames that are wanted of it, and how they are written: what the decoding process is told and tells."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from media.geometry import Region, Size
from media.look import Look, Pixels
from media.probe import MediaFacts
from media.process import Progress, Runner
from media.worker import run_worker

HASHES = "hashes.gray"
EVERY = "every"
"""The mode that takes all frames."""
PIXELS = {"jpg": Pixels.JPEG, "webp": Pixels.VIDEO, "png": Pixels.RGB, "luma": Pixels.LUMA}
"""What kind of pixels each output is made of."""

_TIMES = "times.json"
_PROGRAM = Path(__file__).with_name("frame_worker.py")


@dataclass(frozen=True)
class FrameJob:
    """What is to be done; times in seconds on the film's clock."""

    video: str
    folder: str
    stream_index: int
    origin_seconds: float
    """The container time that is the film's time zero."""
    end_seconds: float
    """When the film ends by its header; 0: it does not say."""
    has_free_clock: bool
    look: Look
    mode: str
    """A `frame_choice.Mode`, or `every` for all frames."""
    output: str
    """jpg, webp or png: a file for each picture; luma: one video."""
    names: str
    """How files are named: `%08d.jpg`, of a number from 1; the name itself for luma."""
    quality: int = 2
    count: int | None = None
    fps: float | None = None
    scene_threshold: float = 0.3
    timestamps: tuple[float, ...] = ()
    hashes: bool = False
    """Whether small grey pictures are written beside, for finding duplicates."""
    threads: int = 0
    """Decoder threads; 0: as many as there are processors."""
    cuda: bool = False
    seek: bool = True
    """Whether stretches without a wanted frame may be passed over undecoded."""

    @classmethod
    def of_fields(cls, **fields: Any) -> Self:
        """Make a job again out of what became of it on a command line."""
        look = fields["look"]
        fields["look"] = Look(
            Size(**look["coded"]),
            Region(**look["crop"]),
            Size(**look["size"]),
            Pixels(look["pixels"]),
            look["upright"],
        )
        fields["timestamps"] = tuple(fields["timestamps"])
        return cls(**fields)


@dataclass(frozen=True)
class FrameReport:
    """What came of it."""

    times: tuple[float, ...]
    """When each written picture is shown, in seconds on the film's clock; picture 1 first."""
    packets_end_seconds: float
    """When the last packet that is there ends."""
    refused: int
    """Packets that the decoder could make nothing of."""
    patched: int
    """Frames of which the decoder had to guess parts."""
    breaks_seconds: tuple[float, ...]
    """Where the film's clock breaks, on the film's clock."""
    decoder: str
    """cpu or cuda."""
    tone_mapped: bool
    seeks: int

    def complete(self, facts: MediaFacts) -> MediaFacts:
        """Return the facts with a length, by the packets where the header has none."""
        if facts.duration_seconds is not None:
            return facts
        origin = facts.clock_origin_seconds
        return facts.with_duration(max(0.0, self.packets_end_seconds + origin - facts.first_seconds))


def end_of(facts: MediaFacts) -> float:
    """Return when a film ends by its header, in seconds on the film's clock; 0: it does not say."""
    if facts.duration_seconds is None:
        return 0.0
    return facts.first_seconds - facts.clock_origin_seconds + facts.duration_seconds


async def run_job(runner: Runner, job: FrameJob, progress: Progress | None) -> FrameReport:
    """Decode in a process of its own, which is killed with its task.

    Raises:
        MediaFault: what the process says, or FFMPEG_FAILED when it dies.
    """
    fields = await run_worker(runner, _PROGRAM, asdict(job), progress)
    times = await asyncio.to_thread(read_times, Path(job.folder))
    return FrameReport(**{**fields, "times": times, "breaks_seconds": tuple(fields["breaks_seconds"])})


def write_times(folder: Path, times: Sequence[float]) -> None:
    """Lay the times of all pictures into the folder: of a long film they are no line of a pipe."""
    (folder / _TIMES).write_text(json.dumps(times))


def read_times(folder: Path) -> tuple[float, ...]:
    """Read them and remove the file, so that the folder holds nothing but pictures."""
    path = folder / _TIMES
    times = json.loads(path.read_bytes())
    path.unlink()
    return tuple(times)
