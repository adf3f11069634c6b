"""split_audio_segments: exact cuts, one decode, nothing lost, nothing silently empty."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from media.faults import FaultCode, MediaFault
from services.ffmpeg.cuts import CutRules, SplitBy
from services.ffmpeg.segment_encoding import SEGMENT_FORMATS, Concurrency
from services.ffmpeg.segments import Split, SplitOptions, split_audio
from services.ffmpeg.silences import SilenceRule
from services.ffmpeg.split_info import split_info
from services.ffmpeg.subtitle_times import Cue
from tests.media import measure as media
from tests.media.local_runner import LocalRunner

RATE = 16_000


@pytest.fixture(scope="module")
def rising(studio: Path) -> Path:
    """Twelve seconds whose every sample is different enough to know where it was cut."""
    path = studio / "rising.wav"
    media.ffmpeg("-f", "lavfi", "-i", f"aevalsrc=0.5*sin(2*PI*(100+50*t)*t):s={RATE}:d=12", path)
    return path


@pytest.fixture(scope="module")
def bursts(studio: Path) -> Path:
    """A tone at 1-2 s, 3-3.3 s and 5-9 s, silence between, ten seconds in all."""
    path = studio / "bursts.wav"
    on = "between(t\\,1\\,2)+between(t\\,3\\,3.3)+between(t\\,5\\,9)"
    media.ffmpeg("-f", "lavfi", "-i", f"aevalsrc=({on})*0.5*sin(2*PI*440*t):s={RATE}:d=10", path)
    return path


async def split(
    runner: LocalRunner, source: Path, folder: Path, cues: list[Cue], rules: CutRules, **options: Any
) -> Split:
    """Split into `folder`."""
    out = folder / "out"
    out.mkdir(exist_ok=True)
    return await split_audio(runner, source, cues, out, folder / "whole.s16", SplitOptions(rules, **options))


def spans(done: Split) -> list[tuple[float, float]]:
    """Return each segment's start and end."""
    return [(round(segment.file.cut.start, 3), round(segment.file.cut.end, 3)) for segment in done.segments]


async def test_cuts_are_exact_to_the_sample(runner: LocalRunner, rising: Path, tmp_path: Path) -> None:
    """Each WAV is bit for bit that part of the recording, overlapping cues too, all from one decode."""
    cues = [Cue(0.0, 1.5, "a"), Cue(1.25, 4.0, "b"), Cue(7.7777, 9.1234, "c")]
    done = await split(runner, rising, tmp_path, cues, CutRules())
    whole = media.samples(rising)
    for cue, segment in zip(cues, done.segments, strict=True):
        assert segment.path is not None
        expected = whole[round(cue.start * RATE) : round(cue.end * RATE)]
        assert np.array_equal(media.samples(segment.path), expected)
    assert runner.count("ffmpeg") == 1
    assert list(media.listing(tmp_path)) == [f"out/segments/segment_{number:03d}.wav" for number in (1, 2, 3)]


@pytest.mark.parametrize("output_format", ["flac", "mp3", "aac", "m4a"])
async def test_formats(runner: LocalRunner, rising: Path, tmp_path: Path, output_format: str) -> None:
    """Other formats hold the same span, are encoded many to a process, and leave no WAV behind."""
    cues = [Cue(number * 0.25, number * 0.25 + 1.0) for number in range(40)]
    done = await split(runner, rising, tmp_path, cues, CutRules(), output_format=output_format)
    assert len(done.written) == 40
    assert runner.count("ffmpeg") == 3
    suffix = SEGMENT_FORMATS[output_format].suffix
    assert {Path(name).suffix for name in media.listing(tmp_path)} == {suffix}
    path = done.segments[3].path
    assert path is not None
    # Encoders with frames pad the last one, and mp3 and aac put a delay in front.
    assert media.audio_seconds(path) == pytest.approx(1.0, abs=0.2 if output_format != "flac" else 1 / RATE)
    assert media.ffprobe(path, "-show_streams")["streams"][0]["codec_name"] == (
        "aac" if output_format == "m4a" else output_format
    )


async def test_short_ones_are_dropped_and_counted(runner: LocalRunner, rising: Path, tmp_path: Path) -> None:
    """Segments under the least length go, unless short ones are wanted."""
    cues = [Cue(0, 0.5), Cue(1, 3)]
    done = await split(runner, rising, tmp_path, cues, CutRules())
    assert (spans(done), done.plan.dropped_short) == ([(1, 3)], 1)
    kept = await split(runner, rising, tmp_path, cues, CutRules(keep_short=True))
    assert spans(kept) == [(0, 0.5), (1, 3)]


async def test_long_ones_become_parts(runner: LocalRunner, rising: Path, tmp_path: Path) -> None:
    """A long cue becomes parts that are none too long or too short and together are the whole cue."""
    cues = [Cue(0.5, 11.6, "long")]
    done = await split(runner, rising, tmp_path, cues, CutRules(max_segment_seconds=3.0))
    edges = spans(done)
    assert edges[0][0] == 0.5
    assert edges[-1][1] == 11.6
    assert all(one[1] == other[0] for one, other in pairwise(edges))
    assert all(1.0 <= end - start <= 3.0 for start, end in edges)
    assert [segment.file.cut.part for segment in done.segments] == list(range(1, len(edges) + 1))


async def test_long_ones_are_cut_where_it_is_quiet(runner: LocalRunner, bursts: Path, tmp_path: Path) -> None:
    """A cut falls into the pause that is within reach, not into the tone."""
    done = await split(runner, bursts, tmp_path, [Cue(1, 9)], CutRules(max_segment_seconds=5.0))
    cut = spans(done)[0][1]
    assert 3.3 <= cut <= 5.0


async def test_silence(runner: LocalRunner, bursts: Path, tmp_path: Path) -> None:
    """Split by silence finds the tones with their margins; what is too short is dropped and counted."""
    rules = CutRules(by=SplitBy.SILENCE, silence=SilenceRule(margin_seconds=0.1))
    done = await split(runner, bursts, tmp_path, [], rules)
    assert done.plan.dropped_short == 1
    for found, true in zip(spans(done), [(0.9, 2.1), (4.9, 9.1)], strict=True):
        assert found == pytest.approx(true, abs=0.011)


async def test_short_pauses_do_not_split(runner: LocalRunner, bursts: Path, tmp_path: Path) -> None:
    """A pause shorter than the least silence belongs to the sound."""
    rules = CutRules(by=SplitBy.SILENCE, silence=SilenceRule(min_silence_seconds=1.5, margin_seconds=0))
    done = await split(runner, bursts, tmp_path, [], rules)
    assert spans(done) == [pytest.approx((1.0, 3.3), abs=0.011), pytest.approx((5.0, 9.0), abs=0.011)]


async def test_fixed(runner: LocalRunner, rising: Path, tmp_path: Path) -> None:
    """Fixed lengths tile the recording."""
    done = await split(runner, rising, tmp_path, [], CutRules(by=SplitBy.FIXED, fixed_seconds=5.0))
    assert spans(done) == [(0, 5), (5, 10), (10, 12)]
    assert sum(segment.file.frames for segment in done.segments) == 12 * RATE


async def test_padding_stays_inside(runner: LocalRunner, rising: Path, tmp_path: Path) -> None:
    """Padding widens a segment and ends at the recording's edges."""
    done = await split(runner, rising, tmp_path, [Cue(0.1, 2), Cue(10, 11.9)], CutRules(pad_seconds=0.25))
    assert spans(done) == [(0, 2.25), (9.75, 12)]


async def test_cues_behind_the_end_fail(runner: LocalRunner, rising: Path, tmp_path: Path) -> None:
    """A cue behind the end counts as failed and is listed; one that sticks out is clamped."""
    cues = [Cue(10, 15, "sticks out"), Cue(20, 22, "lost")]
    done = await split(runner, rising, tmp_path, cues, CutRules())
    assert (spans(done), done.failed_count) == ([(10, 12)], 1)
    options = SplitOptions(CutRules())
    info = split_info(done, options, tmp_path / "out", "t/audio_segments/", datetime.now(UTC))
    assert info["metadata"]["success_rate"] == 0.5
    assert info["failures"] == [
        {"start_time": 20, "end_time": 22, "text": "lost", "reason": "behind the end"}
    ]


@pytest.mark.parametrize("cues", [[Cue(0, 0.2)], [Cue(50, 60)], []])
async def test_nothing_is_an_error(
    runner: LocalRunner, rising: Path, tmp_path: Path, cues: list[Cue]
) -> None:
    """No segment at all is a failure, never an empty folder with success."""
    with pytest.raises(MediaFault) as caught:
        await split(runner, rising, tmp_path, cues, CutRules())
    assert caught.value.code is FaultCode.NO_SEGMENTS


async def test_pure_silence_is_an_error(runner: LocalRunner, tmp_path: Path) -> None:
    """Split by silence of a silent recording says that there was nothing but silence."""
    source = tmp_path / "silence.wav"
    media.ffmpeg("-f", "lavfi", "-i", "anullsrc=r=16000", "-t", "3", source)
    with pytest.raises(MediaFault, match="nothing but silence"):
        await split(runner, source, tmp_path, [], CutRules(by=SplitBy.SILENCE))


async def test_speakers(runner: LocalRunner, rising: Path, tmp_path: Path) -> None:
    """Files are grouped by speaker under safe names; the summary and the groups agree with the files."""
    cues = [
        Cue(0, 2, "one", "SPEAKER_00"),
        Cue(2, 4, "two", "../../Ann B"),
        Cue(4, 6, "three", "SPEAKER_00"),
        Cue(6, 8, "four"),
    ]
    done = await split(runner, rising, tmp_path, cues, CutRules(), by_speaker=True)
    assert list(media.listing(tmp_path / "out")) == [
        "by_speaker/Ann_B/segment_002_Ann_B.wav",
        "by_speaker/SPEAKER_00/segment_001_SPEAKER_00.wav",
        "by_speaker/SPEAKER_00/segment_003_SPEAKER_00.wav",
        "by_speaker/UNKNOWN/segment_004.wav",
    ]
    options = SplitOptions(CutRules(), by_speaker=True)
    info = split_info(done, options, tmp_path / "out", "t/", datetime.now(UTC))
    assert info["speaker_groups"]["SPEAKER_00"]["count"] == 2
    assert info["speaker_groups"]["SPEAKER_00"]["duration"] == 4.0
    listed = [name for group in info["speaker_groups"].values() for name in group["files"]]
    assert sorted(listed) == list(media.listing(tmp_path / "out"))


async def test_split_info_is_complete(runner: LocalRunner, rising: Path, tmp_path: Path) -> None:
    """split_info.json has the origin's fields, and can be written as JSON."""
    words = ({"word": "one", "start": 0.0, "end": 0.5},)
    done = await split(runner, rising, tmp_path, [Cue(0, 2, "one", "S", 0.9, words)], CutRules())
    options = SplitOptions(CutRules())
    info = json.loads(json.dumps(split_info(done, options, tmp_path / "out", "t/", datetime.now(UTC))))
    assert {
        *("total_segments", "successful_segments", "failed_segments", "success_rate", "total_duration"),
        *("processing_time", "processing_speed", "audio_format", "sample_rate", "channels"),
        *("output_directory", "created_at"),
    } <= info["metadata"].keys()
    entry = info["segments"][0]
    assert (entry["id"], entry["start_time"], entry["end_time"], entry["duration"]) == (1, 0, 2, 2)
    assert (entry["text"], entry["speaker"], entry["confidence"]) == ("one", "S", 0.9)
    assert entry["words"] == list(words)
    assert entry["file_size"] == (tmp_path / "out" / entry["file_path"]).stat().st_size


async def test_late_sound_is_cut_on_the_films_clock(
    runner: LocalRunner, late_sound: Path, tmp_path: Path
) -> None:
    """Subtitle times are the film's: sound that starts late in a film is cut where the film has it."""
    done = await split(runner, late_sound, tmp_path, [Cue(0.0, 1.0)], CutRules())
    path = done.segments[0].path
    assert path is not None
    heights = np.abs(media.samples(path).astype(int))
    assert heights[: int(0.49 * RATE)].max() < 100
    assert heights[int(0.51 * RATE) :].max() > 1000


async def test_encoding_that_takes_too_long_fails(runner: LocalRunner, rising: Path, tmp_path: Path) -> None:
    """What is not encoded in time counts as failed; with nothing left the split fails."""
    slow = Concurrency(1, timeout_seconds=0.001)
    with pytest.raises(MediaFault, match="could not be encoded") as caught:
        await split(runner, rising, tmp_path, [Cue(0, 5)], CutRules(), output_format="mp3", concurrency=slow)
    assert caught.value.code is FaultCode.NO_SEGMENTS


@pytest.mark.slow
async def test_odd_films(runner: LocalRunner, shared_media: Path, tmp_path: Path) -> None:
    """The odd films' sound can be split; the one without sound says so."""
    for number, source in enumerate(sorted((shared_media / "video").iterdir())):
        folder = tmp_path / str(number)
        folder.mkdir()
        rules = CutRules(by=SplitBy.FIXED, fixed_seconds=1.0)
        if source.name == "scene_delayed_start.mp4":
            with pytest.raises(MediaFault) as caught:
                await split(runner, source, folder, [], rules)
            assert caught.value.code is FaultCode.NO_AUDIO_STREAM
        else:
            done = await split(runner, source, folder, [], rules)
            assert spans(done)[0] == (0, 1)
