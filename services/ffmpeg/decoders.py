"""Which decoder a video goes through: the processor's, or a CUDA card's when there is one that ffmpeg can use."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

import ffmpeg

from media.faults import MediaFault
from media.graph import open_source
from media.process import Runner, run_ffmpeg

_CUDA_DEVICE = Path("/dev/nvidiactl")
_TRIAL_FRAMES = 3


def has_cuda_device() -> bool:
    """Whether this machine shows a CUDA card at all."""
    return _CUDA_DEVICE.exists()


class Decoder(StrEnum):
    """Where frames are decoded."""

    CPU = "cpu"
    CUDA = "cuda"


async def choose_decoder(runner: Runner, video: Path, stream_index: int | None, wanted: str) -> Decoder:
    """Return the decoder that will really be used for `wanted` = cpu, cuda or auto.

    `auto` is the processor here (`services.ffmpeg.hardware` knows the settings): frames that must come back to main memory for
    cutting lose on the way what the card has won, as users of other tools have measured (Subtitle Edit #5651). `cuda` is
    granted only after the card has decoded the film's first frames; ffmpeg by itself would fall back without a word.
    """
    if wanted != Decoder.CUDA or not has_cuda_device():
        return Decoder.CPU
    try:
        await run_ffmpeg(runner, _trial(video, stream_index))
    except MediaFault:
        return Decoder.CPU
    return Decoder.CUDA


def _trial(video: Path, stream_index: int | None) -> list[str]:
    """Decode a few frames and insist on frames that live on the card."""
    opening = {"hwaccel": "cuda", "hwaccel_output_format": "cuda"}
    frames = (
        open_source(video, **opening)["V:0" if stream_index is None else str(stream_index)]
        .filter("hwdownload")
        .filter("format", "nv12|p010le")
    )
    output = ffmpeg.output(frames, "-", f="null", **{"frames:v": _TRIAL_FRAMES})
    command: list[str] = ffmpeg.compile(output)[1:]
    return command
