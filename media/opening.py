"""A media file opened in this process by libavformat, locked to that one file as ffmpeg's own programs are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard, Stream

from media.faults import FaultCode, MediaFault
from media.source import LOCKS, address


@contextmanager
def opened(path: Path, *, cuda: bool = False) -> Iterator[InputContainer]:
    """Open the file and close it after the block; with `cuda` its pictures are decoded on a card where that can be.

    Raises:
        MediaFault: MEDIA_UNREADABLE.
    """
    container = _on_card(path) if cuda else None
    if container is None:
        try:
            container = _open(path)
        except (av.error.FFmpegError, ValueError) as error:
            raise MediaFault(
                FaultCode.MEDIA_UNREADABLE, f"{path.name} is not media that is read here ({error})"
            ) from None
    with container:
        yield container


def _open(path: Path, card: HWAccel | None = None) -> InputContainer:
    return av.open(address(path), mode="r", options=dict(LOCKS), metadata_errors="replace", hwaccel=card)


def _on_card(path: Path) -> InputContainer | None:
    """Return the file with decoders on a card; None where there is none, or none that can."""
    try:
        return _open(path, HWAccel("cuda", allow_software_fallback=True))
    except (av.error.FFmpegError, ValueError, RuntimeError, NotImplementedError):
        return None


def listen_only_to(container: InputContainer, wanted: Stream) -> None:
    """Let the demuxer pass over every other stream, where it can without reading it."""
    for stream in container.streams:
        if stream.index != wanted.index:
            stream.discard = Discard.all


def packets_of(container: InputContainer) -> Iterator[Packet[Stream]]:
    """Yield the packets in the file's order, and of each stream an empty one at the end; a file that breaks off ends there."""
    try:
        yield from container.demux()
    except av.error.FFmpegError:
        for stream in container.streams:
            last: Packet[Stream] = Packet()
            last.stream = stream
            yield last
