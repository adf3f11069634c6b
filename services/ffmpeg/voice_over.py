"""A film with another voice: its picture copied, the new voice over what else is heard, the whole at the loudness asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from media.audio import AudioOptions, extract_audio
from media.faults import FaultCode, MediaFault, faults_of
from media.languages import language_code
from media.loudness import Loudness, measure_loudness
from media.packets import probe_timed
from media.probe import MediaFacts
from media.process import Progress, Runner, run_ffmpeg
from media.source import address, lock_arguments
from services.ffmpeg.ducking import CHANNELS, RATE, Ducking, mix

FILM, VOICE, BACKGROUND = "film", "voice", "background"
"""What a fault may be about."""
_MP4_CODECS = frozenset({"h264", "hevc", "av1", "mpeg4", "vp9"})
_NEAR_LU = 0.2
_TURNS = 3
"""How often the loudness is set at most: a limiter takes some of what was given."""


@dataclass(frozen=True)
class VoiceOver:
    """What is made of a film."""

    ducking: Ducking
    target_lufs: float
    true_peak_db: float
    keep_original: bool
    """Whether the film's own sound stays, as a second track."""
    language: str
    """Language code that the new track is marked with."""


@dataclass(frozen=True)
class VoicedFilm:
    """What was made."""

    path: Path
    seconds: float
    loudness: Loudness
    speaking_share: float
    audio_tracks: int


def target_suffix(facts: MediaFacts) -> str:
    """Return `.mp4` where that can hold the film's picture, else `.mkv`."""
    return ".mp4" if facts.video().codec in _MP4_CODECS else ".mkv"


async def voice_over(
    runner: Runner,
    film: Path,
    voice: Path,
    background: Path | None,
    folder: Path,
    stem: str,
    wanted: VoiceOver,
    tell: Callable[[float, str], Awaitable[None]],
) -> VoicedFilm:
    """Write the film below `folder`. `background` is what is heard behind the voice, the film's own sound where there is none.

    Both are on the film's clock. The voice is brought to the loudness asked for, and the background by as much as the film's own
    sound would have to be. Raises MediaFault, of FILM, VOICE or BACKGROUND.
    """
    with faults_of(FILM):
        facts = await probe_timed(runner, film)
        target = folder / f"{stem}{target_suffix(facts)}"
    bed, bed_gain = await _bed(runner, film, background, facts, folder, wanted)
    await tell(0.3, "decoding")
    over = folder / "voice.s16"
    with faults_of(VOICE):
        await extract_audio(runner, voice, over, AudioOptions(sample_rate=RATE, channels=1, codec="s16le"))
        level = await measure_loudness(runner, _raw(over, "s16le", 1), "the voice")
    voice_gain = 0.0 if level.is_silent else 10 ** ((wanted.target_lufs - level.lufs) / 20)
    seconds = facts.duration_seconds or over.stat().st_size / 2 / RATE
    mixed = folder / "mix.f32"
    await tell(0.5, "mixing")
    share = await runner.call(
        mix, bed, over, mixed, round(seconds * RATE), bed_gain, voice_gain, wanted.ducking
    )
    with faults_of(FILM):
        loudness = await _mux(runner, film, facts, mixed, target, wanted, _part(tell))
    for path in (bed, over, mixed):
        await asyncio.to_thread(path.unlink, missing_ok=True)
    tracks = 2 if wanted.keep_original and facts.audios else 1
    return VoicedFilm(target, seconds, loudness, share, tracks)


async def _bed(
    runner: Runner, film: Path, background: Path | None, facts: MediaFacts, folder: Path, wanted: VoiceOver
) -> tuple[Path, float]:
    """Return what is heard behind the voice, as raw samples, and its gain."""
    bed = folder / "bed.s16"
    if background is None and not facts.audios:
        await asyncio.to_thread(bed.touch)
        return bed, 1.0
    with faults_of(BACKGROUND if background else FILM):
        options = AudioOptions(sample_rate=RATE, channels=CHANNELS, codec="s16le")
        await extract_audio(runner, background or film, bed, options)
    with faults_of(FILM):
        own = await measure_loudness(
            runner,
            [*lock_arguments(), "-i", address(film)] if facts.audios else _raw(bed, "s16le", CHANNELS),
            "the film",
        )
    return bed, 1.0 if own.is_silent else 10 ** ((wanted.target_lufs - own.lufs) / 20)


async def _mux(
    runner: Runner,
    film: Path,
    facts: MediaFacts,
    mixed: Path,
    target: Path,
    wanted: VoiceOver,
    progress: Progress,
) -> Loudness:
    """Write the film with the mix at its loudness, measured in the file that was written."""
    now = await measure_loudness(runner, _raw(mixed, "f32le", CHANNELS), "the mix")
    gain = 0.0 if now.is_silent else wanted.target_lufs - now.lufs
    # ffmpeg moves a film that begins after the zero of its clock forward; the mix begins there.
    late = max(0.0, facts.first_seconds - facts.clock_origin_seconds)
    limit = 10 ** (wanted.true_peak_db / 20)
    for _ in range(_TURNS):
        # At four times the rate the limiter sees the peaks between samples too. What it delays it takes back (`latency`).
        chain = (
            f"[1:a]volume={gain:.3f}dB,aresample={4 * RATE},"
            f"alimiter=limit={limit:.5f}:level=disabled:attack=2:release=50:latency=1,aresample={RATE}[new]"
        )
        own = ["-map", "0:a:0"] if wanted.keep_original and facts.audios else []
        arguments = [
            *(*lock_arguments(), "-i", address(film), "-ss", f"{late:.6f}", *_raw(mixed, "f32le", CHANNELS)),
            *("-filter_complex", chain, "-map", f"0:{facts.video().index}", "-map", "[new]", *own),
            *("-c:v", "copy", "-c:a", "aac", "-b:a:0", "192k", "-sn", "-dn", "-map_metadata", "0"),
            *(
                "-metadata:s:a:0",
                f"language={language_code(wanted.language, target.suffix.lstrip('.'))}",
                "-disposition:a:0",
                "default",
            ),
            *(("-disposition:a:1", "0") if own else ()),
            *("-max_interleave_delta", "0", "-movflags", "+faststart"),
            *("-f", "mp4" if target.suffix == ".mp4" else "matroska", address(target)),
        ]
        ran = await run_ffmpeg(
            runner, arguments, progress=progress, span_seconds=lambda: facts.duration_seconds
        )
        if ran.clock_seconds <= 0:
            raise MediaFault(FaultCode.OUTPUT_EMPTY, f"{film.name} gave no film")
        now = await measure_loudness(runner, [*lock_arguments(), "-i", address(target)], "the film")
        missing = wanted.target_lufs - now.lufs
        if now.is_silent or abs(missing) <= _NEAR_LU:
            break
        gain += missing
    return now


def _raw(path: Path, form: str, channels: int) -> list[str]:
    return ["-f", form, "-ar", str(RATE), "-ac", str(channels), "-i", address(path)]


def _part(tell: Callable[[float, str], Awaitable[None]]) -> Progress:
    async def report(share: float) -> None:
        await tell(0.6 + 0.4 * share, "writing")

    return report
