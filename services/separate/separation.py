"""One separation from fetched media to files on the scratch disk: what both tasks share."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from media.probe import AudioStream
from nodekit import TaskContext, TaskFailed, through_deaths
from services.separate import conversion, stems
from services.separate.blocks import count_samples
from services.separate.engine import Engine
from services.separate.engines import Choice
from services.separate.listening import SAMPLE_RATE as LISTENING_RATE
from services.separate.listening import SoundContent, listen
from services.separate.outputs import RunStatistics, SoundFacts

DECODED_PERCENT = 10.0
SEPARATED_PERCENT = 85.0


@dataclass(frozen=True)
class Mix:
    """A decoded recording."""

    path: Path
    stream: AudioStream
    stem: str
    """The recording's name without its ending."""
    warnings: tuple[str, ...] = ()
    """What people should know of the recording: that it is cut off."""

    @property
    def samples(self) -> int:
        """Samples of every channel."""
        return count_samples(self.path, self.stream.channels)

    def facts(self) -> SoundFacts:
        """Describe it."""
        seconds = self.samples / self.stream.sample_rate
        return SoundFacts(
            sample_rate=self.stream.sample_rate,
            channels=self.stream.channels,
            samples=self.samples,
            duration=round(seconds, 6),
        )


@dataclass(frozen=True)
class Separated:
    """What came out."""

    voices: Path
    rest: Path | None
    figures: stems.StemFigures
    engine: str
    model: str
    device: str
    statistics: RunStatistics


async def decode_mix(context: TaskContext, ref: str, stream_index: int | None, output_format: str) -> Mix:
    """Fetch and decode a recording. Raises MediaFault; TaskFailed (TOO_MANY_CHANNELS) when the output cannot hold it."""
    source = await context.fetch(ref)

    async def decoded(share: float) -> None:
        await context.progress(share * DECODED_PERCENT, "decoding")

    path = context.output_path("mix.f32")
    stream, warnings = await conversion.decode(context, source, path, stream_index, decoded)
    most = conversion.MAX_CHANNELS[output_format]
    if stream.channels > most:
        raise TaskFailed(
            "TOO_MANY_CHANNELS",
            f"the recording has {stream.channels} channels and {output_format} holds {most}: ask for another format",
            field="/output_format",
        )
    return Mix(path, stream, source.stem, warnings)


async def hear(context: TaskContext, mix: Mix) -> SoundContent | None:
    """Tell what is in a recording; None where nothing here can."""
    stream = mix.stream
    target = context.output_path("listening.f32")
    path = await conversion.resample(
        context, mix.path, target, stream.channels, (stream.sample_rate, LISTENING_RATE), 1
    )
    heard: SoundContent | None = await context.call(listen, path)
    if path != mix.path:
        await asyncio.to_thread(path.unlink)
    return heard


async def separate(
    context: TaskContext, mix: Mix, choice: Choice, *, kept: float = 0.0, with_rest: bool = True
) -> Separated:
    """Write voices, and what is left, as plain floats of the mix's own rate, channels and length.

    `kept`, 0 to 1, is how much of what is left stays with the voices.
    """
    stream = mix.stream
    found = await through_deaths(context, partial(_find_voices, context, mix, choice))
    back = await conversion.resample(
        context,
        found.path,
        context.output_path("back.f32"),
        stream.channels,
        (found.rate, stream.sample_rate),
    )
    voices = context.output_path("voices.f32")
    rest = context.output_path("rest.f32") if with_rest else None
    await context.progress(SEPARATED_PERCENT, "writing")
    figures = await context.call(stems.part_stems, mix.path, back, stream.channels, voices, rest, kept)
    statistics = RunStatistics(
        execution_time=round(found.seconds, 3),
        load_time=round(found.load_seconds, 3),
        model_warm=found.warm,
        realtime_factor=round(found.seconds * stream.sample_rate / max(mix.samples, 1), 4),
    )
    return Separated(voices, rest, figures, *found.engine, statistics)


@dataclass(frozen=True)
class _Found:
    """The voices at the engine's rate."""

    path: Path
    rate: int
    engine: tuple[str, str, str]
    seconds: float
    load_seconds: float
    warm: bool


async def _find_voices(context: TaskContext, mix: Mix, choice: Choice) -> _Found:
    """Have the engine find the voices; a second call goes on where the first one's process has died."""
    stream = mix.stream
    async with context.warm(
        choice.key, choice.load, memory_mib=choice.memory_mib or 0, processor=choice.memory_mib is None
    ) as model:
        engine, rate = await model.run(describe)
        rate = rate or stream.sample_rate
        sound = await conversion.resample(
            context, mix.path, context.output_path("engine.f32"), stream.channels, (stream.sample_rate, rate)
        )
        found = context.output_path("found.f32")
        began = time.monotonic()
        with context.working_on(mix.samples / stream.sample_rate):
            async for share in model.stream(stems.separate_voices, sound, stream.channels, rate, found):
                percent = DECODED_PERCENT + (SEPARATED_PERCENT - DECODED_PERCENT) * share
                await context.progress(percent, "separating")
        return _Found(found, rate, engine, time.monotonic() - began, model.load_seconds, model.warm)


def describe(engine: Engine) -> tuple[tuple[str, str, str], int | None]:
    """Return an engine's name, weights and device, and its rate; for its worker."""
    return (engine.name, engine.model, engine.device), engine.sample_rate


async def encode(context: TaskContext, mix: Mix, path: Path, name: str, output_format: str) -> Path:
    """Write one stem as a file that people play; its plain samples go."""
    target = context.output_path(f"{name}{conversion.ENCODERS[output_format][0]}")
    await conversion.encode(context, path, target, mix.stream.sample_rate, mix.stream.channels, output_format)
    await asyncio.to_thread(path.unlink)
    return target
