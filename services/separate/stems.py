"""From a mix to its stems, file to file: the voices by an engine, the rest as what the mix has beyond them.

The rest is never estimated: it is the mix minus the voices, sample by sample, so that both together are the mix. Runs in a worker.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from services.separate.blocks import Block, count_samples, of_length, read_blocks, write_blocks
from services.separate.engine import Engine


@dataclass(frozen=True)
class StemFigures:
    """What the stems came to."""

    samples: int
    """Samples of every channel, the mix's own number."""
    gain: float
    """What both stems were multiplied by so that neither is louder than full scale; 1 in nearly all cases."""
    voice_db: float | None
    """Root mean square of the voices in dBFS; None: silence."""
    rest_db: float | None
    """Root mean square of the rest in dBFS; None: silence."""
    mix_db: float | None
    """Root mean square of the mix in dBFS; None: silence."""


def separate_voices(
    engine: Engine, sound: Path, channels: int, sample_rate: int, target: Path
) -> Iterator[float]:
    """Write the voices of a sound at the engine's rate; yields the share done, 0 to 1.

    Each of the engine's groups of channels (one, or a stereo pair) is heard alone; a channel that is the same as the first is not
    heard twice. A call that follows one whose process has died goes on where that one had come to.
    """
    total = max(count_samples(sound, channels), 1)
    groups = _groups(engine, sound, channels)
    parts = [target.with_suffix(f".group{number}") for number in range(len(groups))]
    for number, (group, part) in enumerate(zip(groups, parts, strict=True)):
        done = _whole_samples(part, len(group))
        if done >= total:
            continue
        first = engine.again_from(done, sample_rate)
        blocks = read_blocks(sound, channels, first=first)
        picked = (_picked(block, group, engine.channels) for block in blocks)
        with part.open("ab") as file:
            for block in _behind(engine.voices(picked, sample_rate), done - first):
                file.write(np.ascontiguousarray(block[:, : len(group)], "<f4").tobytes())
                done += len(block)
                yield (number + min(done / total, 1.0)) / len(groups)
    write_blocks(target, _woven(parts, groups, channels, sound))
    for part in parts:
        part.unlink()


def _whole_samples(part: Path, channels: int) -> int:
    """Return how many samples a file has already; a torn one at its end is cut off."""
    if not part.exists():
        return 0
    samples = count_samples(part, channels)
    os.truncate(part, samples * channels * 4)
    return samples


def _behind(blocks: Iterable[Block], count: int) -> Iterator[Block]:
    """Yield what comes behind the first `count` samples."""
    for block in blocks:
        skipped = min(count, len(block))
        count -= skipped
        if skipped < len(block):
            yield block[skipped:]


def _groups(engine: Engine, sound: Path, channels: int) -> list[list[int]]:
    """Return the channels that are heard together; a channel equal to an earlier one is left out."""
    same_as_first = np.ones(channels, bool)
    for block in read_blocks(sound, channels):
        same_as_first &= (block == block[:, :1]).all(0)
    different = [0, *(channel for channel in range(1, channels) if not same_as_first[channel])]
    return [different[first : first + engine.channels] for first in range(0, len(different), engine.channels)]


def _picked(block: Block, group: list[int], width: int) -> Block:
    """Return a group's channels, the last one repeated where the engine wants more."""
    return block[:, [*group, *[group[-1]] * (width - len(group))]]


def _woven(parts: list[Path], groups: list[list[int]], channels: int, sound: Path) -> Iterator[Block]:
    """Put the groups' voices back onto their channels; a channel that was left out is the same as the first."""
    readers = [read_blocks(part, len(group)) for part, group in zip(parts, groups, strict=True)]
    heard = {channel for group in groups for channel in group}
    for blocks in zip(*readers, strict=True):
        whole = np.empty((len(blocks[0]), channels), np.float32)
        for group, block in zip(groups, blocks, strict=True):
            whole[:, group] = block
        for channel in set(range(channels)) - heard:
            whole[:, channel] = whole[:, 0]
        yield whole


def part_stems(
    mix: Path, voices: Path, channels: int, voice_target: Path, rest_target: Path | None, kept: float = 0.0
) -> StemFigures:
    """Write voices as long as the mix, and the rest, both as floats; `kept` (0 to 1) of the rest is left with the voices."""
    samples = count_samples(mix, channels)
    peak = 0.0
    energy = np.zeros(3)
    for voice, rest in _pairs(mix, voices, channels, samples, kept):
        peak = max(peak, _peak(voice), _peak(rest) if rest_target is not None else 0.0)
        energy += [float((part.astype(float) ** 2).sum()) for part in (voice, rest, voice + rest)]
    gain = 1.0 / peak if peak > 1.0 else 1.0
    write_blocks(
        voice_target, _scaled((voice for voice, _ in _pairs(mix, voices, channels, samples, kept)), gain)
    )
    if rest_target is not None:
        write_blocks(
            rest_target, _scaled((rest for _, rest in _pairs(mix, voices, channels, samples, kept)), gain)
        )
    count = max(samples * channels, 1)
    levels = [round(10 * float(np.log10(one / count)), 2) if one > 1e-12 * count else None for one in energy]
    return StemFigures(samples, round(gain, 6), *levels)


def _pairs(
    mix: Path, voices: Path, channels: int, samples: int, kept: float
) -> Iterator[tuple[Block, Block]]:
    own = of_length(read_blocks(voices, channels), samples, channels)
    waiting = np.zeros((0, channels), np.float32)
    for block in read_blocks(mix, channels):
        while len(waiting) < len(block):
            waiting = np.concatenate([waiting, next(own)])
        voice, waiting = waiting[: len(block)], waiting[len(block) :]
        rest = (block - voice) * np.float32(1 - kept)
        yield block - rest, rest


def _scaled(blocks: Iterable[Block], gain: float) -> Iterator[Block]:
    return (block * np.float32(gain) for block in blocks)


def _peak(block: Block) -> float:
    return float(np.abs(block).max()) if block.size else 0.0
