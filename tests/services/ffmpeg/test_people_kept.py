"""Kinds of films that came out right before decoding was mended for others, and must stay so. Issue 10, end of point 15."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from media.geometry import Region
from tests.media import measure
from tests.media.measure import ffmpeg
from tests.services.ffmpeg.people import (
    BEEPS,
    FLASHES,
    X264,
    at,
    colour,
    first_flash,
    pictures_of,
    sound_of,
    times,
)

pytestmark = pytest.mark.slow

A_FRAME = 0.041


async def test_clock_that_wraps(tmp_path: Path) -> None:
    """A broadcast's clock of 33 bits runs over after 26.5 hours: what comes behind it goes on, in sound and pictures alike."""
    film = tmp_path / "wrap.ts"
    wrap_seconds = 2**33 / 90_000
    ffmpeg(
        *(*FLASHES, *BEEPS, *X264, "-bf", "2", "-c:a", "mp2", "-muxdelay", "0"),
        *("-output_ts_offset", f"{wrap_seconds - 2.5:.3f}", film),
    )
    taken, heard, seconds = await sound_of(film, tmp_path)
    assert seconds == pytest.approx(6.0, abs=0.1)
    assert heard == pytest.approx([1, 2, 3, 4, 5], abs=A_FRAME)
    assert not any("promises" in line for line in taken.warnings)
    assert await at(film, tmp_path, 1.02, 4.02) == pytest.approx([1.0, 4.0], abs=A_FRAME)
    assert times(await pictures_of(film, tmp_path, count=6)) == pytest.approx(range(6), abs=A_FRAME)


@pytest.mark.parametrize("container", ["mkv", "webm"])
async def test_holes_in_opus(tmp_path: Path, container: str) -> None:
    """Packets that a call has lost leave silence of their length: what comes after the hole keeps its time."""
    whole, holed = tmp_path / "whole.webm", tmp_path / f"holed.{container}"
    ffmpeg(*BEEPS, "-c:a", "libopus", whole)
    ffmpeg(
        "-i", whole, "-c", "copy", "-bsf:a", "noise=amount=1000000000:drop='between(n\\,125\\,165)'", holed
    )
    _, heard, seconds = await sound_of(holed, tmp_path)
    assert seconds == pytest.approx(6.0, abs=0.1)
    assert heard == pytest.approx([1, 2, 4, 5], abs=0.03)


async def test_edit_list(tmp_path: Path) -> None:
    """A film that was cut without encoding begins inside a group of pictures: its edit list says where, for both tracks."""
    whole, cut = tmp_path / "whole.mp4", tmp_path / "cut.mp4"
    ffmpeg(*FLASHES, *BEEPS, *X264, "-g", "100", "-bf", "2", "-c:a", "aac", whole)
    ffmpeg("-ss", "1.48", "-i", whole, "-c", "copy", cut)
    taken, heard, _ = await sound_of(cut, tmp_path)
    seen = await first_flash(cut, tmp_path)
    assert seen == pytest.approx(0.52, abs=A_FRAME)
    assert heard == pytest.approx([0.52, 1.52, 2.52, 3.52], abs=A_FRAME), taken


async def test_open_groups_of_pictures(tmp_path: Path) -> None:
    """Pictures that are shown before the key picture they follow in the file are found at their own instants."""
    film = tmp_path / "open.mp4"
    ffmpeg(*FLASHES, *X264, "-g", "25", "-bf", "3", "-x264-params", "open-gop=1:scenecut=0:bframes=3", film)
    assert await at(film, tmp_path, 0.96, 1.02, 1.96, 4.92) == pytest.approx(
        [0.96, 1.0, 1.96, 4.92], abs=0.002
    )
    all_times = times(await pictures_of(film, tmp_path, count=10_000, max_width=32))
    assert all_times == pytest.approx([number / 25 for number in range(150)], abs=0.002)


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
async def test_turned_with_oblong_pixels(tmp_path: Path, turn: int) -> None:
    """An area is one of the upright picture with square pixels, whatever way the camera was held and whatever its pixels' shape."""
    flat, film = tmp_path / "flat.mp4", tmp_path / "turned.mp4"
    # The upper half of what the camera wrote is red, the lower blue; pixels are 4:3: 240x180 is shown as 320x180,
    # and upright, where a row is 180 of the narrow pixels, as 135x240.
    ffmpeg(
        *("-f", "lavfi", "-i", "color=blue:s=240x180:r=5:d=1,drawbox=w=240:h=90:color=red:t=fill,setsar=4/3"),
        *(*X264, flat),
    )
    ffmpeg("-i", flat, "-c", "copy", "-metadata:s:v:0", f"rotate={turn}", film)
    width, height = (320, 180) if turn in (0, 180) else (135, 240)
    taken = await pictures_of(film, tmp_path, count=1)
    shown = measure.picture(taken.frames[0].path)
    assert shown.shape[:2] == (height, width)
    # Where the red half lies after a turn against the clock, which this muxer's word `rotate` means.
    red = {0: (0, 0, 320, 90), 90: (0, 0, 68, 240), 180: (0, 90, 320, 180), 270: (68, 0, 135, 240)}[turn]
    cut = await pictures_of(film, tmp_path, count=1, area=Region.from_corners(*red))
    assert measure.picture(cut.frames[0].path).shape[:2] == (red[3] - red[1], red[2] - red[0])
    share = colour(cut.frames[0].path)
    assert share[0] > 200 and share[2] < 60


async def test_spans_of_vbr_mp3(tmp_path: Path) -> None:
    """A span of an MP3 of varying bit rate is the span that was asked for, with a header that tells its length or without."""
    for name, header in (("with.mp3", "1"), ("without.mp3", "0")):
        film = tmp_path / name
        ffmpeg(
            *("-f", "lavfi", "-i", "aevalsrc='if(lt(t,20),0,0.5*random(0)-0.25)':s=44100:d=30"),
            *("-c:a", "libmp3lame", "-q:a", "4", "-write_xing", header, "-id3v2_version", "0", film),
        )
        taken, _, seconds = await sound_of(film, tmp_path, start_seconds=18.0, end_seconds=23.0)
        heard = measure.samples(tmp_path / f"{name}.wav")
        loud = np.flatnonzero(np.abs(heard.astype(int)) > 500)
        assert seconds == pytest.approx(5.0, abs=0.01), taken
        assert loud[0] / 16_000 == pytest.approx(2.0, abs=0.06), name
