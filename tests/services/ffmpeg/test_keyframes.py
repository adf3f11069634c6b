"""extract_keyframes: the right frames, at their true times, upright and in shape."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from media.faults import FaultCode, MediaFault
from media.geometry import Region, Size
from services.ffmpeg.frame_choice import KeyframeOptions, Mode
from services.ffmpeg.keyframes import Keyframes, extract_keyframes
from tests.media import measure as media
from tests.media.local_runner import LocalRunner

MICROSECOND = 2e-6


def times(taken: Keyframes) -> list[float]:
    """Return the frames' times."""
    return [frame.pts_seconds for frame in taken.frames]


async def test_iframes_are_the_key_packets(runner: LocalRunner, film: Path, tmp_path: Path) -> None:
    """Mode iframe gives one picture for every packet that ffprobe flags as a key, at the packet's own time."""
    taken = await extract_keyframes(runner, film, tmp_path, KeyframeOptions(mode=Mode.IFRAME))
    assert times(taken) == pytest.approx(media.packet_times(film, only_keys=True), abs=MICROSECOND)
    assert list(media.listing(tmp_path)) == [f"frame_{number:04d}.jpg" for number in range(1, 5)]


@pytest.mark.parametrize("film_name", ["film", "uneven", "broadcast"])
async def test_times_are_true(
    runner: LocalRunner, film_name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """With every frame taken, times equal the packets' - with a varying rate and with a free clock too."""
    source: Path = request.getfixturevalue(film_name)
    taken = await extract_keyframes(runner, source, tmp_path, KeyframeOptions(count=10_000, max_width=32))
    packets = media.packet_times(source)
    origin = taken.facts.clock_origin_seconds
    assert times(taken) == pytest.approx([time - origin for time in packets], abs=2e-5)
    if film_name == "uneven":
        assert len(set(np.diff(times(taken)).round(3))) > 2


async def test_pictures_belong_to_their_times(runner: LocalRunner, film: Path, tmp_path: Path) -> None:
    """Each picture shows the frame of its time: it looks like that frame and not like its neighbours."""
    taken = await extract_keyframes(runner, film, tmp_path, KeyframeOptions(count=7))
    reference = media.frames(film, 320, 180)
    for frame in taken.frames:
        number = round(frame.pts_seconds * 25)
        shown = media.picture(frame.path)
        likeness = [
            media.psnr(shown, reference[at]) for at in range(max(0, number - 2), min(100, number + 3))
        ]
        assert max(likeness) > 30
        assert likeness.index(max(likeness)) == min(2, number)


@pytest.mark.parametrize("count", [1, 7, 50, 99, 100, 101, 1000])
async def test_uniform_count(runner: LocalRunner, film: Path, tmp_path: Path, count: int) -> None:
    """So many frames are taken, even in time, and never more than there are."""
    taken = await extract_keyframes(runner, film, tmp_path, KeyframeOptions(count=count, max_width=32))
    assert len(taken.frames) == min(count, 100)
    wanted = np.arange(len(taken.frames)) * 4.0 / len(taken.frames)
    assert np.abs(np.array(times(taken)) - wanted).max() <= 0.04 + MICROSECOND


async def test_uniform_rate(runner: LocalRunner, uneven: Path, tmp_path: Path) -> None:
    """At 5 a second no two frames share a fifth of a second, and no fifth with a frame is without one."""
    taken = await extract_keyframes(runner, uneven, tmp_path, KeyframeOptions(fps=5.0, max_width=32))
    slots = [int(time * 5 + 0.01) for time in times(taken)]
    there = sorted({int(time * 5 + 0.01) for time in media.packet_times(uneven)})
    assert slots == there


async def test_scene_changes(runner: LocalRunner, tmp_path: Path) -> None:
    """Mode scene gives the first frame of each shot."""
    source, folder = tmp_path / "shots.mp4", tmp_path / "frames"
    folder.mkdir()
    shots = "[0][1][2]concat=n=3"
    inputs = [
        "testsrc=s=160x120:r=10:d=1",
        "mandelbrot=s=160x120:r=10,trim=end=1",
        "testsrc=s=160x120:r=10:d=1",
    ]
    given = [word for each in inputs for word in ("-f", "lavfi", "-i", each)]
    media.ffmpeg(*given, "-filter_complex", shots, "-c:v", "libx264", "-g", "300", source)
    taken = await extract_keyframes(
        runner, source, folder, KeyframeOptions(mode=Mode.SCENE, scene_threshold=0.3)
    )
    assert times(taken) == pytest.approx([0.0, 1.0, 2.0], abs=MICROSECOND)


async def test_timestamps(runner: LocalRunner, uneven: Path, tmp_path: Path) -> None:
    """A timestamp gives the frame that is on the screen then, each frame once."""
    asked = (0.0, 0.05, 0.5, 1.5, 3.99)
    options = KeyframeOptions(mode=Mode.TIMESTAMPS, timestamps=asked)
    taken = await extract_keyframes(runner, uneven, tmp_path, options)
    packets = media.packet_times(uneven)
    shown = sorted({max(time for time in packets if time <= instant) for instant in asked})
    assert times(taken) == pytest.approx(shown, abs=MICROSECOND)


async def test_timestamp_behind_the_end(runner: LocalRunner, film: Path, tmp_path: Path) -> None:
    """An instant after the end is refused with the end's time."""
    options = KeyframeOptions(mode=Mode.TIMESTAMPS, timestamps=(1.0, 60.0))
    with pytest.raises(MediaFault, match="60 s") as caught:
        await extract_keyframes(runner, film, tmp_path, options)
    assert caught.value.code is FaultCode.RANGE_OUTSIDE_MEDIA


async def test_turned_pictures_stand_upright(
    runner: LocalRunner, turned: Path, halves: Path, tmp_path: Path
) -> None:
    """A film marked as turned is shown as players show it; with autorotate off it lies as it is stored."""
    (tmp_path / "on").mkdir()
    (tmp_path / "off").mkdir()
    upright = await extract_keyframes(runner, turned, tmp_path / "on", KeyframeOptions(count=1))
    lying = await extract_keyframes(
        runner, turned, tmp_path / "off", KeyframeOptions(count=1, autorotate=False)
    )
    assert upright.frame_size == Size(120, 160)
    expected = media.frames(turned, 120, 160)[0]
    assert media.psnr(media.picture(upright.frames[0].path), expected) > 35
    red = media.picture(upright.frames[0].path)[:, :, 0]
    assert abs(int(red[:60].mean()) - int(red[100:].mean())) > 200
    assert lying.frame_size == Size(160, 120)
    assert media.psnr(media.picture(lying.frames[0].path), media.frames(halves, 160, 120)[0]) > 35


async def test_circles_stay_round(runner: LocalRunner, narrow_pixels: Path, tmp_path: Path) -> None:
    """Non-square pixels are stretched: a circle of the film is a circle in the picture."""
    for name, apply in (("applied", True), ("stored", False)):
        (tmp_path / name).mkdir()
        options = KeyframeOptions(count=1, apply_sar=apply, image_format="png")
        taken = await extract_keyframes(runner, narrow_pixels, tmp_path / name, options)
        lit = np.argwhere(media.picture(taken.frames[0].path, "gray") > 128)
        height, width = (lit.max(axis=0) - lit.min(axis=0) + 1).tolist()
        assert height == pytest.approx(101, abs=3)
        assert width == pytest.approx(101 if apply else 51, abs=3)


async def test_crop_is_in_pixels_of_the_screen(
    runner: LocalRunner, narrow_pixels: Path, tmp_path: Path
) -> None:
    """A crop counts pixels as the viewer sees them: the circle's right half is where the eye finds it."""
    options = KeyframeOptions(count=1, area=Region(80, 10, 60, 100), image_format="png")
    taken = await extract_keyframes(runner, narrow_pixels, tmp_path, options)
    shown = media.picture(taken.frames[0].path, "gray")
    assert shown.shape == (100, 60)
    assert (shown[50, :45] > 128).all()
    assert (shown[50, 54:] < 128).all()


async def test_named_area_and_odd_crop(runner: LocalRunner, film: Path, tmp_path: Path) -> None:
    """An area is exact to the pixel, at odd places too."""
    reference = media.frames(film, 320, 180, "gray", "extractplanes=y,format=gray")[0]
    areas: dict[Region | str, tuple[int, int, int, int]] = {
        "bottom_third": (0, 120, 320, 60),
        Region(33, 7, 101, 55): (33, 7, 101, 55),
    }
    for area, (x, y, width, height) in areas.items():
        folder = tmp_path / str(width)
        folder.mkdir()
        taken = await extract_keyframes(
            runner, film, folder, KeyframeOptions(count=1, area=area, image_format="png")
        )
        assert taken.area == Region(x, y, width, height)
        luma = media.frames(
            taken.frames[0].path, width, height, "gray", "scale=out_range=tv,format=yuv444p,extractplanes=y"
        )
        assert media.psnr(luma[0], reference[y : y + height, x : x + width]) > 38


async def test_area_outside_is_refused(runner: LocalRunner, film: Path, tmp_path: Path) -> None:
    """An area without a pixel in the picture is an error, one that overlaps is clamped."""
    with pytest.raises(MediaFault) as caught:
        await extract_keyframes(runner, film, tmp_path, KeyframeOptions(area=Region(400, 0, 10, 10)))
    assert caught.value.code is FaultCode.AREA_OUTSIDE_FRAME
    taken = await extract_keyframes(
        runner, film, tmp_path, KeyframeOptions(count=1, area=Region(300, 170, 50, 50))
    )
    assert taken.area == Region(300, 170, 20, 10)


@pytest.mark.parametrize("image_format", ["jpg", "webp", "png"])
async def test_formats_and_width(runner: LocalRunner, film: Path, tmp_path: Path, image_format: str) -> None:
    """Pictures are written in the asked format, reduced to the width with their shape kept, never enlarged."""
    options = KeyframeOptions(count=2, max_width=160, image_format=image_format)
    taken = await extract_keyframes(runner, film, tmp_path, options)
    shown = media.ffprobe(taken.frames[0].path, "-show_streams")["streams"][0]
    codec = {"jpg": "mjpeg", "webp": "webp", "png": "png"}[image_format]
    assert (shown["codec_name"], shown["width"], shown["height"]) == (codec, 160, 90)
    wide = await extract_keyframes(runner, film, tmp_path, KeyframeOptions(count=1, max_width=5000))
    assert wide.frame_size == Size(320, 180)


async def test_quality(runner: LocalRunner, film: Path, tmp_path: Path) -> None:
    """A worse quality is a smaller file, in both lossy formats."""
    for image_format in ("jpg", "webp"):
        sizes: list[int] = []
        for quality in (2, 20):
            folder = tmp_path / f"{image_format}{quality}"
            folder.mkdir()
            options = KeyframeOptions(count=1, image_format=image_format, quality=quality)
            await extract_keyframes(runner, film, folder, options)
            sizes.extend(media.listing(folder).values())
        assert sizes[1] < sizes[0] * 0.7


async def test_duplicates_are_dropped(runner: LocalRunner, tmp_path: Path) -> None:
    """Of a still shot one picture is kept, of three shots three; names stay without gaps and times true."""
    source, folder = tmp_path / "slides.mp4", tmp_path / "frames"
    folder.mkdir()
    slides = [
        f"testsrc2=s=160x120:r=10:d={start + 1},trim=start={start}:end={start + 0.1},loop=9:1"
        for start in (0, 3, 7)
    ]
    given = [word for each in slides for word in ("-f", "lavfi", "-i", f"{each},setpts=N/10/TB")]
    media.ffmpeg(*given, "-filter_complex", "[0][1][2]concat=n=3", "-c:v", "libx264", "-crf", "10", source)
    options = KeyframeOptions(count=1000, dedup_distance=4)
    taken = await extract_keyframes(runner, source, folder, options)
    assert times(taken) == pytest.approx([0.0, 1.0, 2.0], abs=MICROSECOND)
    assert taken.duplicates_dropped == 27
    assert list(media.listing(folder)) == ["frame_0001.jpg", "frame_0002.jpg", "frame_0003.jpg"]
    reference = media.frames(source, 160, 120)
    for frame, number in zip(taken.frames, (0, 10, 20), strict=True):
        assert media.psnr(media.picture(frame.path), reference[number]) > 28


async def test_count_limits_iframes_evenly(runner: LocalRunner, film: Path, tmp_path: Path) -> None:
    """A count in another mode keeps that many of the frames found, spread over all of them."""
    taken = await extract_keyframes(runner, film, tmp_path, KeyframeOptions(mode=Mode.IFRAME, count=2))
    assert times(taken) == pytest.approx([0.0, 2.0], abs=MICROSECOND)
    assert list(media.listing(tmp_path)) == ["frame_0001.jpg", "frame_0002.jpg"]


async def test_one_decode(runner: LocalRunner, film: Path, tmp_path: Path) -> None:
    """Whatever the number of pictures, the film is decoded by one process, after one look at its header."""
    await extract_keyframes(runner, film, tmp_path, KeyframeOptions(count=100, dedup_distance=2))
    assert [Path(command[0]).name for command in runner.commands] == ["ffprobe", Path(sys.executable).name]


@pytest.fixture(scope="module", params=["mkv", "mp4"])
def long_film(studio: Path, request: pytest.FixtureRequest) -> Path:
    """A minute with a key frame each second and frames that are stored out of order; it starts half a second late."""
    path = studio / f"minute.{request.param}"
    media.ffmpeg(
        *("-f", "lavfi", "-i", "testsrc2=s=160x90:r=25:d=60", "-c:v", "libx264", "-preset", "veryfast"),
        *("-g", "25", "-bf", "2", "-crf", "15", "-output_ts_offset", "0.5", path),
    )
    return path


@pytest.mark.parametrize(
    "options",
    [
        KeyframeOptions(count=10, dedup_distance=1),
        KeyframeOptions(mode=Mode.TIMESTAMPS, timestamps=(3.21, 3.22, 40.0, 55.55), image_format="png"),
    ],
)
async def test_seeking_gives_what_a_pass_gives(
    runner: LocalRunner,
    long_film: Path,
    tmp_path: Path,
    options: KeyframeOptions,
) -> None:
    """A few frames of a long film are sought, and are the very frames, times and bytes of one pass over it."""
    (tmp_path / "sought").mkdir()
    (tmp_path / "passed").mkdir()
    sought = await extract_keyframes(runner, long_film, tmp_path / "sought", options)
    passed = await extract_keyframes(runner, long_film, tmp_path / "passed", options, seek=False)
    assert (sought.seeks > 1, passed.seeks) == (True, 0)
    assert times(sought) == times(passed)
    assert set(times(sought)) <= {round(time, 6) for time in media.packet_times(long_film)}
    names = list(media.listing(tmp_path / "sought"))
    assert names == list(media.listing(tmp_path / "passed"))
    for name in names:
        assert (tmp_path / "sought" / name).read_bytes() == (tmp_path / "passed" / name).read_bytes()


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("empty.mp4", FaultCode.MEDIA_EMPTY),
        ("text.mp4", FaultCode.MEDIA_UNREADABLE),
        ("cut.mp4", FaultCode.MEDIA_UNREADABLE),
        ("playlist.mp4", FaultCode.MEDIA_FORMAT_REFUSED),
    ],
)
async def test_broken_files(
    runner: LocalRunner, broken: dict[str, Path], name: str, code: FaultCode, tmp_path: Path
) -> None:
    """What is no film is refused with its code."""
    with pytest.raises(MediaFault) as caught:
        await extract_keyframes(runner, broken[name], tmp_path, KeyframeOptions())
    assert caught.value.code is code


async def test_sound_only(runner: LocalRunner, song_with_cover: Path, tmp_path: Path) -> None:
    """A song's cover is not a key frame."""
    with pytest.raises(MediaFault) as caught:
        await extract_keyframes(runner, song_with_cover, tmp_path, KeyframeOptions())
    assert caught.value.code is FaultCode.NO_VIDEO_STREAM


async def test_cut_off_film(runner: LocalRunner, broken: dict[str, Path], tmp_path: Path) -> None:
    """Half a film gives as many frames out of what is there, and says that it is not all."""
    taken = await extract_keyframes(runner, broken["half.mp4"], tmp_path, KeyframeOptions(count=8))
    assert len(taken.frames) == 8
    assert times(taken)[-1] < 3.5
    assert "promises 4.000 s" in taken.warnings[0]


async def test_cut_off_matroska(runner: LocalRunner, film: Path, tmp_path: Path) -> None:
    """Its header speaks of the file as a whole: half of it is said to be cut off."""
    path = tmp_path / "film.mkv"
    media.ffmpeg("-i", film, "-c", "copy", path)
    assert (await extract_keyframes(runner, path, tmp_path, KeyframeOptions(count=4))).warnings == ()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    taken = await extract_keyframes(runner, path, tmp_path, KeyframeOptions(count=4))
    assert re.search(r"film.mkv promises 4.\d{3} s and holds [12]", taken.warnings[0])


ODD_FILMS = {
    "SAR-2by3.mp4": (Size(427, 360), 60),
    "cover_art_stream.mp4": (Size(640, 360), 60),
    "no_duration.webm": (Size(1280, 720), 74),
    "scene_delayed_start.mp4": (Size(480, 320), 24),
    "softsub_mov_text.mp4": (Size(300, 200), 40),
    "two_audio_tracks_60fps.mp4": (Size(1920, 1080), 319),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ODD_FILMS)
async def test_odd_films(runner: LocalRunner, shared_media: Path, name: str, tmp_path: Path) -> None:
    """Every odd film gives key frames of the right size at its packets' times."""
    source, (size, packets) = shared_media / "video" / name, ODD_FILMS[name]
    (tmp_path / "few").mkdir()
    few = await extract_keyframes(runner, source, tmp_path / "few", KeyframeOptions(count=3))
    assert (len(few.frames), few.frame_size, few.warnings) == (3, size, ())
    assert media.picture(few.frames[-1].path).shape == (size.height, size.width, 3)
    every = await extract_keyframes(runner, source, tmp_path, KeyframeOptions(count=10_000, max_width=32))
    stored = media.packet_times(source)
    assert len(stored) == packets
    # A packet at the end of a cut stream may hold no whole frame.
    assert len(stored) - 1 <= len(every.frames) <= len(stored)
    assert set(times(every)) <= {round(time, 6) for time in stored}
