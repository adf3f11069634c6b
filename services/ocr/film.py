"""What the headers of a film say that is to be read, and the shape of one frame that was taken out of it."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from media.faults import FaultCode as MediaCode
from media.faults import MediaFault
from media.geometry import Picture, Region, Size
from media.probe import MediaFacts, VideoStream, facts_from, probe_arguments
from media.process import fault_of
from media.source import check_not_empty
from services.ocr.faults import FaultCode, OcrFault

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Luma: TypeAlias = "NDArray[np.uint8]"
"""Rows × columns, 0 (black) to 255."""
Area = Region
"""A rectangle in display pixels: the upright picture with square pixels, as a viewer sees it."""

_SAME = {
    MediaCode.NO_VIDEO_STREAM: FaultCode.NO_VIDEO_STREAM,
    MediaCode.MEDIA_ENCRYPTED: FaultCode.MEDIA_ENCRYPTED,
    MediaCode.MEDIA_IS_PICTURE: FaultCode.MEDIA_IS_PICTURE,
    MediaCode.MEDIA_FORMAT_REFUSED: FaultCode.MEDIA_FORMAT_REFUSED,
    MediaCode.AREA_OUTSIDE_FRAME: FaultCode.AREA_OUTSIDE_FRAME,
}


_MOST_WORDS = 4000


@dataclass(frozen=True)
class _Ended:
    """How ffprobe ended."""

    returncode: int
    stderr_tail: str


@dataclass(frozen=True)
class Film:
    """What the headers say of a film."""

    path: Path
    stream: VideoStream
    origin_seconds: float
    """The container time that is the film's zero."""
    has_free_clock: bool
    duration_seconds: float
    """0 where the header does not say."""
    facts: MediaFacts
    """All that the headers say."""
    subtitle_languages: tuple[str, ...]
    """Of the soft subtitle streams that the file carries; `und` where it does not say."""

    @property
    def picture(self) -> Picture:
        """How coded frames become what is seen."""
        return Picture.of(self.stream)

    @property
    def size(self) -> Size:
        """Of the picture as a viewer sees it."""
        return self.picture.display

    @property
    def width(self) -> int:
        """Display pixels."""
        return self.size.width

    @property
    def height(self) -> int:
        """Display pixels."""
        return self.size.height


@dataclass(frozen=True, slots=True)
class Frame:
    """What was taken out of one frame."""

    time: float
    """Seconds on the film's clock."""
    luma: Luma


def probe(path: Path) -> Film:
    """Read a film's headers. Raises OcrFault: MEDIA_UNREADABLE, MEDIA_ENCRYPTED, NO_VIDEO_STREAM."""
    try:
        check_not_empty(path)
        document = _asked(path)
        facts = facts_from(document, path.name)
        stream = facts.video()
    except MediaFault as fault:
        raise of_media(fault) from None
    subtitles = [
        one.get("tags", {}) for one in document.get("streams", []) if one.get("codec_type") == "subtitle"
    ]
    return Film(
        path=path,
        stream=stream,
        origin_seconds=facts.clock_origin_seconds,
        has_free_clock=facts.has_free_clock,
        duration_seconds=_end(facts),
        facts=facts,
        subtitle_languages=tuple(tags.get("language", "und") for tags in subtitles),
    )


def of_media(fault: MediaFault, field: str = "/video_path") -> OcrFault:
    """Return a fault of media in the words of this node."""
    return OcrFault(_SAME.get(fault.code, FaultCode.MEDIA_UNREADABLE), fault.message, field)


def _asked(path: Path) -> dict[str, Any]:
    done = subprocess.run(
        ["ffprobe", "-v", "error", *probe_arguments(path)], capture_output=True, check=False
    )
    if done.returncode != 0:
        words = done.stderr.decode(errors="replace")[-_MOST_WORDS:]
        raise fault_of("ffprobe", _Ended(done.returncode, words))
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def _end(facts: MediaFacts) -> float:
    if facts.duration_seconds is None:
        return 0.0
    return facts.first_seconds - facts.clock_origin_seconds + facts.duration_seconds
