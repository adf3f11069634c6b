"""extract_audio: the right track, the right length to the sample, in step with the film."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from media.audio import CODECS, AudioOptions, ExtractedAudio, extract_audio
from media.faults import FaultCode, MediaFault
from tests.media import measure as media
from tests.media.local_runner import LocalRunner

RATE = 16_000


def first_sound(path: Path) -> float:
    """Return when a recording becomes louder than a whisper, in seconds."""
    return int(np.argmax(np.abs(media.samples(path).astype(int)) > 300)) / RATE


async def test_default_is_what_plain_ffmpeg_writes(runner: LocalRunner, film: Path, tmp_path: Path) -> None:
    """For an ordinary film the samples equal those of `ffmpeg -vn -ac 1 -ar 16000`, bit for bit."""
    reference = tmp_path / "reference.wav"
    media.ffmpeg("-i", film, "-vn", "-ac", "1", "-ar", "16000", "-c:a", "pcm_s16le", reference)
    taken = await extract_audio(runner, film, tmp_path / "ours.wav", AudioOptions())
    assert np.array_equal(media.samples(tmp_path / "ours.wav"), media.samples(reference))
    shown = media.ffprobe(tmp_path / "ours.wav", "-show_streams")["streams"][0]
    assert (shown["codec_name"], shown["sample_rate"], shown["channels"]) == ("pcm_s16le", "16000", 1)
    assert taken.levels.frames == len(media.samples(reference))
    assert taken.warnings == ()


async def test_one_decode_and_one_probe(runner: LocalRunner, film: Path, tmp_path: Path) -> None:
    """An ordinary film costs one run of each program."""
    await extract_audio(runner, film, tmp_path / "a.wav", AudioOptions())
    assert (runner.count("ffmpeg"), runner.count("ffprobe")) == (1, 1)


async def test_late_sound_keeps_its_place(runner: LocalRunner, late_sound: Path, tmp_path: Path) -> None:
    """A track that starts half a second late is half a second late in the WAV, and the offset is told."""
    target = tmp_path / "a.wav"
    taken = await extract_audio(runner, late_sound, target, AudioOptions())
    assert taken.offset_seconds == pytest.approx(0.5, abs=0.001)
    assert first_sound(target) == pytest.approx(0.5, abs=0.002)
    assert media.audio_seconds(target) == pytest.approx(2.5, abs=1.5 / RATE)


async def test_offset_may_be_left_to_the_caller(
    runner: LocalRunner, late_sound: Path, tmp_path: Path
) -> None:
    """Without keep_offset the file begins with the sound, and the offset is still told."""
    target = tmp_path / "a.wav"
    taken = await extract_audio(runner, late_sound, target, AudioOptions(keep_offset=False))
    assert taken.offset_seconds == pytest.approx(0.5, abs=0.001)
    assert first_sound(target) < 0.01
    assert media.audio_seconds(target) == pytest.approx(2.0, abs=1.5 / RATE)


@pytest.mark.parametrize(("start", "silence"), [(None, 1.0), (0.25, 0.75), (1.5, 0.0)])
async def test_whole_film_starts_late(
    runner: LocalRunner, film: Path, tmp_path: Path, start: float | None, silence: float
) -> None:
    """A film in which nothing happens for a second has a second of silence; a start is counted on the same clock."""
    source, target = tmp_path / "late.mkv", tmp_path / "a.wav"
    media.ffmpeg("-i", film, "-c:v", "copy", "-c:a", "flac", "-output_ts_offset", "1", source)
    await extract_audio(runner, source, target, AudioOptions(start_seconds=start))
    assert first_sound(target) == pytest.approx(silence, abs=0.002)
    assert media.audio_seconds(target) == pytest.approx(5.017 - (start or 0), abs=0.02)


async def test_free_clock_is_counted_from_its_start(
    runner: LocalRunner, broadcast: Path, tmp_path: Path
) -> None:
    """A transport stream at 70 s gives no 70 s of silence, but its sound's own 0.3 s."""
    target = tmp_path / "a.wav"
    taken = await extract_audio(runner, broadcast, target, AudioOptions())
    assert taken.offset_seconds == pytest.approx(0.3, abs=0.05)
    assert first_sound(target) == pytest.approx(taken.offset_seconds, abs=0.05)
    assert media.audio_seconds(target) == pytest.approx(4.3, abs=0.1)


async def test_holes_stay_open(runner: LocalRunner, sound_with_hole: Path, tmp_path: Path) -> None:
    """Where packets are missing there is silence of the same length: what follows stays at its time."""
    target = tmp_path / "a.wav"
    await extract_audio(runner, sound_with_hole, target, AudioOptions())
    heights = np.abs(media.samples(target).astype(int))
    assert heights[int(1.1 * RATE) : int(1.9 * RATE)].max() < 300
    assert heights[int(2.1 * RATE) : int(2.9 * RATE)].max() > 1000
    assert len(heights) / RATE == pytest.approx(3.0, abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("film_name", ["film", "late_sound", "broadcast"])
@pytest.mark.parametrize(("start", "end"), [(None, 1.25), (0.75, None), (0.75, 1.5), (2.6, 2.7)])
async def test_a_span_is_that_part_of_the_whole(
    runner: LocalRunner,
    film_name: str,
    start: float | None,
    end: float | None,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    """A span is the sound that the whole extraction has at that time; its length is exact to one sample.

    Where a container's timestamps are rounded (Matroska to milliseconds) or guessed after a seek (transport
    streams), a span may begin half a millisecond off.
    """
    source: Path = request.getfixturevalue(film_name)
    if film_name == "late_sound" and start == 2.6:
        pytest.skip("the sound ends at 2.5 s there")
    await extract_audio(runner, source, tmp_path / "whole.wav", AudioOptions())
    options = AudioOptions(start_seconds=start, end_seconds=end)
    await extract_audio(runner, source, tmp_path / "part.wav", options)
    whole, part = media.samples(tmp_path / "whole.wav"), media.samples(tmp_path / "part.wav")
    expected = whole[round((start or 0) * RATE) : round(end * RATE) if end else None]
    lag_allowed = 1 if film_name == "film" else 8
    assert abs(len(part) - len(expected)) <= (1 if end else lag_allowed)
    assert abs(best_lag(part, expected)) <= lag_allowed


def best_lag(part: NDArray[np.int16], expected: NDArray[np.int16]) -> int:
    """Return by how many samples `part` is late, where the two agree; fails where they nowhere do."""
    size = min(len(part), len(expected))
    middle = part[100 : size - 100].astype(int)
    errors = {
        lag: int(np.abs(middle - expected[100 - lag : size - 100 - lag].astype(int)).max())
        for lag in range(-20, 21)
    }
    lag = min(errors, key=lambda lag: errors[lag])
    assert errors[lag] < 450
    return lag


async def test_span_behind_the_end(runner: LocalRunner, film: Path, tmp_path: Path) -> None:
    """A start past the end is refused, naming the end."""
    with pytest.raises(MediaFault, match=r"4\.0") as caught:
        await extract_audio(runner, film, tmp_path / "a.wav", AudioOptions(start_seconds=9))
    assert caught.value.code is FaultCode.RANGE_OUTSIDE_MEDIA


@pytest.mark.parametrize("codec", ["pcm_s16le", "flac", "aac", "mp3"])
async def test_codecs(runner: LocalRunner, film: Path, tmp_path: Path, codec: str) -> None:
    """Each codec is written as asked, and measured on its samples before encoding."""
    target = tmp_path / f"a{CODECS[codec].suffix}"
    options = AudioOptions(codec=codec, sample_rate=44_100, channels=2)
    taken = await extract_audio(runner, film, target, options)
    shown = media.ffprobe(target, "-show_streams")["streams"][0]
    assert shown["codec_name"] == codec
    assert (int(shown["sample_rate"]), shown["channels"]) == (44_100, 2)
    assert taken.levels.frames == pytest.approx(4 * 44_100, abs=0.05 * 44_100)
    # ffmpeg's tone has an amplitude of an eighth of full scale, 3 dB less in each channel of two.
    assert taken.levels.rms_db == pytest.approx(20 * math.log10(1 / 8 / 2), abs=0.2)
    assert list(media.listing(tmp_path)) == [target.name]


async def test_clipping_is_counted(runner: LocalRunner, tmp_path: Path) -> None:
    """A square wave at full scale for a quarter of the time is a quarter clipped."""
    source = tmp_path / "loud.wav"
    wave = "aevalsrc=if(lt(t\\,0.5)\\,sgn(sin(2*PI*100*t)+0.001)\\,0.1*sin(2*PI*100*t)):s=16000:d=2"
    media.ffmpeg("-f", "lavfi", "-i", wave, "-c:a", "pcm_s16le", source)
    taken = await extract_audio(runner, source, tmp_path / "a.wav", AudioOptions())
    assert taken.levels.clipped_ratio == pytest.approx(0.25, abs=0.002)


async def test_digital_silence_has_no_level(runner: LocalRunner, tmp_path: Path) -> None:
    """Silence has no decibels, and is no error."""
    source = tmp_path / "silence.wav"
    media.ffmpeg("-f", "lavfi", "-i", "anullsrc=r=16000", "-t", "1", source)
    taken = await extract_audio(runner, source, tmp_path / "a.wav", AudioOptions())
    assert taken.levels.rms_db is None


async def test_second_track(runner: LocalRunner, film: Path, tmp_path: Path) -> None:
    """The asked track is taken, not the default one."""
    source, target = tmp_path / "two.mkv", tmp_path / "a.wav"
    media.ffmpeg(
        *("-i", film, "-f", "lavfi", "-i", "sine=f=1000:d=4", "-map", "0", "-map", "1"),
        *("-c:v", "copy", "-c:a", "flac", source),
    )
    await extract_audio(runner, source, target, AudioOptions(stream_index=2))
    spectrum = np.abs(np.fft.rfft(media.samples(target)[:RATE].astype(float)))
    assert int(np.argmax(spectrum)) == 1000


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("empty.mp4", FaultCode.MEDIA_EMPTY),
        ("text.mp4", FaultCode.MEDIA_UNREADABLE),
        ("cut.mp4", FaultCode.MEDIA_UNREADABLE),
        ("playlist.mp4", FaultCode.MEDIA_FORMAT_REFUSED),
        ("concat.mp4", FaultCode.MEDIA_FORMAT_REFUSED),
    ],
)
async def test_broken_files(
    runner: LocalRunner, broken: dict[str, Path], name: str, code: FaultCode, tmp_path: Path
) -> None:
    """What is no media, or would reach out, is refused with its code and leaves nothing that looks like a result."""
    with pytest.raises(MediaFault) as caught:
        await extract_audio(runner, broken[name], tmp_path / "a.wav", AudioOptions())
    assert caught.value.code is code
    assert not any(media.listing(tmp_path).values())


async def test_no_sound(runner: LocalRunner, silent_film: Path, tmp_path: Path) -> None:
    """A film without sound is told so, not answered with an empty file."""
    with pytest.raises(MediaFault) as caught:
        await extract_audio(runner, silent_film, tmp_path / "a.wav", AudioOptions())
    assert caught.value.code is FaultCode.NO_AUDIO_STREAM


async def test_cut_off_film_gives_what_is_there(
    runner: LocalRunner, broken: dict[str, Path], tmp_path: Path
) -> None:
    """Half a film with a whole index gives half the sound, and says so."""
    taken = await extract_audio(runner, broken["half.mp4"], tmp_path / "a.wav", AudioOptions())
    assert 0.5 < taken.levels.frames / RATE < 3.5
    assert "cut off" in taken.warnings[0]


async def test_progress_is_ffmpegs_clock(runner: LocalRunner, film: Path, tmp_path: Path) -> None:
    """Progress only grows, ends at 1, and comes from the time ffmpeg has written."""
    long_film = tmp_path / "long.mkv"
    media.ffmpeg("-stream_loop", "150", "-i", film, "-c", "copy", long_film)
    shares: list[float] = []

    async def note(share: float) -> None:
        shares.append(share)

    await extract_audio(
        runner, long_film, tmp_path / "a.wav", AudioOptions(sample_rate=96_000, channels=2), note
    )
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert any(0.05 < share < 0.95 for share in shares)


def written(taken: ExtractedAudio) -> float:
    """Seconds of sound."""
    return taken.levels.frames / RATE


ODD_FILMS = {
    "SAR-2by3.mp4": 2.020,
    "cover_art_stream.mp4": 2.020,
    "no_duration.webm": None,
    "scene_delayed_start.mp4": FaultCode.NO_AUDIO_STREAM,
    "softsub_mov_text.mp4": 1.927,
    "two_audio_tracks_60fps.mp4": 5.333,
}


@pytest.mark.parametrize("name", ODD_FILMS)
async def test_odd_films(runner: LocalRunner, shared_media: Path, name: str, tmp_path: Path) -> None:
    """Every odd film of the collection gives its sound in full, or says that it has none."""
    source, expected = shared_media / "video" / name, ODD_FILMS[name]
    if isinstance(expected, FaultCode):
        with pytest.raises(MediaFault) as caught:
            await extract_audio(runner, source, tmp_path / "a.wav", AudioOptions())
        assert caught.value.code is expected
        return
    taken = await extract_audio(runner, source, tmp_path / "a.wav", AudioOptions())
    if expected is None:
        last = max(media.packet_times(source, "a:0"))
        expected = last + 0.06
        assert taken.offset_seconds == pytest.approx(0.015, abs=0.001)
    assert written(taken) == pytest.approx(expected, abs=0.025)
    assert taken.warnings == ()
