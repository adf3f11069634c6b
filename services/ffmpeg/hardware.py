"""Holds a card's memory while a film is decoded on it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from nodekit import TaskContext
from services.ffmpeg.decoders import Decoder, choose_decoder
from services.ffmpeg.settings import FfmpegSection


@asynccontextmanager
async def decoding(
    context: TaskContext, video: Path, stream_index: int | None, wanted: str, settings: FfmpegSection
) -> AsyncIterator[Decoder]:
    """Give the decoder that will really be used for `wanted` = cpu, cuda or auto; `auto` is what the settings say.

    The processor needs no lease, and a card that turns out not to decode this film is given back at once.
    """
    if (settings.hwaccel if wanted == "auto" else wanted) == Decoder.CUDA:
        async with context.gpu(memory_mib=settings.decode_memory_mib) as lease:
            decoder = Decoder.CPU
            if not lease.on_cpu:
                decoder = await choose_decoder(context, video, stream_index, Decoder.CUDA)
            if decoder is Decoder.CUDA:
                yield decoder
                return
    yield Decoder.CPU
