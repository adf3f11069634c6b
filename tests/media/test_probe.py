"""What the probe says of good, odd and broken files."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import pytest

from media.faults import FaultCode, MediaFault
from media.packets import probe_timed
from media.probe import probe
from tests.media import measure as media
from tests.media.local_runner import LocalRunner


async def test_facts_of_a_plain_film(runner: LocalRunner, film: Path) -> None:
    """A plain film's facts are those it was made with."""
    facts = await probe(runner, film)
    video, audio = facts.video(), facts.audio()
    assert (video.codec, video.width, video.height, video.frame_rate) == ("h264", 320, 180, Fraction(25))
    assert (video.sample_aspect_ratio, video.rotation, video.is_turned) == (Fraction(1), 0, False)
    assert (audio.codec, audio.sample_rate, audio.channels) == ("aac", 44_100, 2)
    assert facts.duration_seconds == pytest.approx(4.0, abs=0.05)
    assert facts.clock_origin_seconds == 0.0


async def test_cover_is_no_video(runner: LocalRunner, song_with_cover: Path) -> None:
    """A cover picture is never taken for a film, though ffmpeg lists it as a video stream."""
    assert "png" in [
        item["codec_name"] for item in media.ffprobe(song_with_cover, "-show_streams")["streams"]
    ]
    facts = await probe(runner, song_with_cover)
    assert facts.audio().codec == "flac"
    with pytest.raises(MediaFault) as caught:
        facts.video()
    assert caught.value.code is FaultCode.NO_VIDEO_STREAM


async def test_rotation_and_pixel_shape(runner: LocalRunner, turned: Path, narrow_pixels: Path) -> None:
    """The display matrix and the sample aspect ratio are read."""
    assert (await probe(runner, turned)).video().is_turned
    assert (await probe(runner, narrow_pixels)).video().sample_aspect_ratio == Fraction(2)


async def test_only_a_free_clock_is_moved_to_zero(
    runner: LocalRunner, broadcast: Path, late_sound: Path
) -> None:
    """A transport stream counts from its first timestamp; a Matroska's late stream stays late."""
    assert (await probe(runner, broadcast)).clock_origin_seconds == pytest.approx(70.0, abs=0.2)
    late = await probe(runner, late_sound)
    assert late.clock_origin_seconds == 0.0
    assert late.audio().start_seconds == pytest.approx(0.5, abs=0.001)


async def test_duration_without_a_header(runner: LocalRunner, film: Path, tmp_path: Path) -> None:
    """A file whose header has no duration is timed by its packets."""
    piped = tmp_path / "piped.mkv"
    piped.write_bytes(media.ffmpeg("-i", film, "-c", "copy", "-f", "matroska", "-"))
    assert (await probe(runner, piped)).duration_seconds is None
    assert (await probe_timed(runner, piped)).duration_seconds == pytest.approx(4.0, abs=0.05)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("empty.mp4", FaultCode.MEDIA_EMPTY),
        ("text.mp4", FaultCode.MEDIA_UNREADABLE),
        ("cut.mp4", FaultCode.MEDIA_UNREADABLE),
        ("noise.mkv", FaultCode.MEDIA_UNREADABLE),
    ],
)
async def test_broken_files_are_named(
    runner: LocalRunner, broken: dict[str, Path], name: str, code: FaultCode
) -> None:
    """What is no media is refused with a stable code and without this machine's folders in the text."""
    with pytest.raises(MediaFault) as caught:
        await probe(runner, broken[name])
    assert caught.value.code is code
    assert str(broken[name].parent) not in caught.value.message
    assert name in caught.value.message


@pytest.mark.parametrize("name", ["playlist.mp4", "concat.mp4", "dash.mpd", "session.sdp"])
async def test_formats_that_reach_out_are_refused(
    runner: LocalRunner, broken: dict[str, Path], name: str
) -> None:
    """A playlist under a film's name is refused, though ffmpeg by itself would follow it."""
    with pytest.raises(MediaFault) as caught:
        await probe(runner, broken[name])
    assert caught.value.code is FaultCode.MEDIA_FORMAT_REFUSED


@pytest.mark.parametrize("name", ["still.png", "still.jpg", "still.webp", "png.mp4", "text.png"])
async def test_a_still_picture_is_called_one(runner: LocalRunner, tmp_path: Path, name: str) -> None:
    """By its content under a film's name too; what is only named so cannot be told from one."""
    path = tmp_path / name
    if name == "text.png":
        path.write_text("no picture")
    else:
        drawn = tmp_path / name.replace("png.mp4", "drawn.png")
        media.ffmpeg("-f", "lavfi", "-i", "color=red:s=64x48", "-frames:v", "1", drawn)
        drawn.rename(path)
    with pytest.raises(MediaFault) as caught:
        await probe(runner, path)
    assert (caught.value.code, str(tmp_path) in caught.value.message) == (FaultCode.MEDIA_IS_PICTURE, False)
    assert "still picture" in caught.value.message


async def test_the_refused_playlist_would_have_worked(broken: dict[str, Path]) -> None:
    """The test above proves something: ffmpeg without our locks reads the other file through the script."""
    shown = media.ffprobe(broken["concat.mp4"], "-safe", "0", "-f", "concat", "-show_streams")
    assert shown["streams"][0]["codec_name"] == "pcm_s16le"


async def test_asked_streams(runner: LocalRunner, film: Path, silent_film: Path) -> None:
    """A stream that is not there, or of the wrong kind, is named with those that are."""
    facts = await probe(runner, film)
    assert facts.audio(1).index == 1
    for index in (0, 7):
        with pytest.raises(MediaFault) as caught:
            facts.audio(index)
        assert caught.value.code is FaultCode.STREAM_NOT_FOUND
    with pytest.raises(MediaFault) as caught:
        (await probe(runner, silent_film)).audio()
    assert caught.value.code is FaultCode.NO_AUDIO_STREAM


async def test_file_names_are_only_names(runner: LocalRunner, film: Path, tmp_path: Path) -> None:
    """A name that looks like a protocol, an option or a pattern opens that file and nothing else."""
    for name in ("concat:a|b.mp4", "-y.mp4", "50%d.mp4", "it's, a [film];.mp4", "http:x.mp4"):
        path = tmp_path / name
        os.link(film, path)
        assert (await probe(runner, path)).video().codec == "h264"
