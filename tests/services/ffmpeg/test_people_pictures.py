"""Pictures that people really have: sizes, rates, clocks and colours of all kinds. Issue 10, point 15."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from media.geometry import Region
from services.ffmpeg.decoders import Decoder
from services.ffmpeg.strips import StripOptions, Strips, cut_strips
from tests.media import measure
from tests.media.local_runner import LocalRunner
from tests.media.measure import ffmpeg
from tests.services.ffmpeg.people import BEEPS, FLASHES, X264, at, colour, joined, pictures_of, times

pytestmark = pytest.mark.slow


async def strips_of(source: Path, folder: Path, *corners: int, luma: bool = False) -> tuple[Strips, Path]:
    """Cut strips of a film into a new folder."""
    place = folder / f"{source.name}-strips{'-luma' if luma else ''}"
    place.mkdir()
    options = StripOptions(Region.from_corners(*corners), as_files=not luma)
    return await cut_strips(LocalRunner(), source, place, options, Decoder.CPU), place


@pytest.mark.trial("10.15", row=2)
@pytest.mark.parametrize("container", ["mkv", "mp4", "ts"])
async def test_picture_grows(tmp_path: Path, container: str) -> None:
    """A recording whose picture grows gives whole pictures of one size, each with its own time."""
    for name, made in (("r1", "color=red:s=320x180:r=25:d=4"), ("r2", "color=blue:s=640x360:r=25:d=4")):
        ffmpeg("-f", "lavfi", "-i", made, *X264, "-bf", "0", "-g", "25", tmp_path / f"{name}.h264")
    raw = joined(tmp_path / "res.h264", tmp_path / "r1.h264", tmp_path / "r2.h264")
    film = tmp_path / f"res.{container}"
    ffmpeg("-fflags", "+genpts", "-r", "25", "-i", raw, "-c", "copy", film)
    taken = await pictures_of(film, tmp_path, count=8)
    assert times(taken) == pytest.approx(range(8), abs=0.05)
    shares = [colour(frame.path) for frame in taken.frames]
    assert ["red" if red > 200 else "blue" if blue > 200 else "?" for red, _, blue in shares] == [
        "red"
    ] * 4 + ["blue"] * 4
    keys = await pictures_of(film, tmp_path, mode="iframe")
    assert times(keys) == pytest.approx(range(8), abs=0.05)
    for luma in (False, True):
        cut, folder = await strips_of(film, tmp_path, 0, 0, 320, 180, luma=luma)
        assert cut.times == pytest.approx([number / 25 for number in range(200)], abs=0.002)
        if luma:
            assert len(measure.frames(folder / "strips.mkv", 320, 180, "gray")) == 200
        else:
            assert list(measure.listing(folder)) == [f"{number:08d}.jpg" for number in range(1, 201)]
            assert [colour(folder / f"{number:08d}.jpg")[2] > 200 for number in (99, 100, 101, 102)] == [
                False,
                False,
                True,
                True,
            ]


@pytest.mark.trial("10.15", row=2)
async def test_grown_picture_is_whole(tmp_path: Path) -> None:
    """What is cut out of a picture that has grown is the same part of the whole picture, not the old corner of the new one."""
    grown = "color=blue:s=640x360:r=25:d=1,drawbox=w=320:h=180:color=red:t=fill"
    for name, made in (("r1", "color=green:s=320x180:r=25:d=1"), ("r2", grown)):
        ffmpeg("-f", "lavfi", "-i", made, *X264, "-bf", "0", tmp_path / f"{name}.h264")
    raw = joined(tmp_path / "res.h264", tmp_path / "r1.h264", tmp_path / "r2.h264")
    ffmpeg("-fflags", "+genpts", "-r", "25", "-i", raw, "-c", "copy", tmp_path / "res.mkv")
    _, folder = await strips_of(tmp_path / "res.mkv", tmp_path, 0, 0, 320, 180)
    shown = measure.picture(folder / "00000040.jpg")
    assert float((shown[:, :, 0] > 128).mean()) == pytest.approx(0.25, abs=0.02)


@pytest.mark.trial("10.15", row=3)
@pytest.mark.parametrize("name", ["vfr.mp4", "vfr.mov", "uneven.mkv"])
async def test_rate_varies(tmp_path: Path, name: str) -> None:
    """A phone's varying frame rate gives a picture for every frame, at the packets' times, in every form."""
    film = tmp_path / name
    slow = "if(lt(t,1),not(mod(n,4)),1)" if name.startswith("vfr") else "if(lt(t,1),not(mod(n,14)),1)"
    rate = 60 if name.startswith("vfr") else 142
    ffmpeg(
        *("-f", "lavfi", "-i", f"testsrc2=s=64x36:r={rate}:d=1.5,select='{slow}'", "-fps_mode", "vfr"),
        *(*X264, "-g", "25", film),
    )
    packets = measure.packet_times(film)
    for luma in (False, True):
        taken, folder = await strips_of(film, tmp_path, 0, 10, 64, 36, luma=luma)
        assert taken.times == pytest.approx(packets, abs=2e-6)
        assert len(measure.listing(folder)) == (1 if luma else len(packets))
    for image_format in ("jpg", "png"):
        at_rate = await pictures_of(film, tmp_path, fps=60.0, image_format=image_format)
        assert len(at_rate.frames) > 30
    assert await at(film, tmp_path, packets[3], packets[-2]) == pytest.approx(
        [packets[3], packets[-2]], abs=0.001
    )


@pytest.mark.trial("10.15", row=7)
async def test_avi_without_packet_times(tmp_path: Path) -> None:
    """In an AVI, whose packets have no times, an instant gives the frame that is shown then."""
    for name, codec in (("late_mp3.avi", ("libx264", "-bf", "0")), ("xvid.avi", ("libxvid", "-bf", "2"))):
        film = tmp_path / name
        ffmpeg(*FLASHES, *BEEPS, "-c:v", *codec, "-c:a", "libmp3lame", film)
        taken = await pictures_of(film, tmp_path, mode="timestamps", timestamps=(1.02, 2.02, 4.02))
        assert times(taken) == pytest.approx([1.0, 2.0, 4.0], abs=0.002), name
        assert all(min(colour(frame.path)) > 128 for frame in taken.frames), name


COARSE = {
    "mjpeg.avi": ("-c:v", "mjpeg"),
    "tape.dv": ("-target", "pal-dv"),
    "cam.mxf": ("-c:v", "mpeg2video"),
    "raw.ivf": ("-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8"),
}


@pytest.mark.trial("10.15", row=8)
@pytest.mark.parametrize("name", COARSE)
async def test_coarse_time_bases(tmp_path: Path, name: str) -> None:
    """Where a container counts in frames, an instant on a frame's edge gives that frame, and none of several is lost."""
    film = tmp_path / name
    ffmpeg(*FLASHES, *COARSE[name], film)
    assert await at(film, tmp_path, 2.0) == pytest.approx([2.0], abs=0.002)
    assert await at(film, tmp_path, 1.02, 2.02, 4.02) == pytest.approx([1.0, 2.0, 4.0], abs=0.002)


def make_gif(path: Path) -> Path:
    """Four pictures, shown for 100, 1000, 50 and 2000 ms."""
    pictures = [Image.new("RGB", (64, 36), shade) for shade in ("red", "green", "blue", "white")]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=[100, 1000, 50, 2000])
    return path


@pytest.mark.trial("10.15", row=8)
async def test_instants_of_a_gif(tmp_path: Path) -> None:
    """A GIF's pictures are found at their instants."""
    film = make_gif(tmp_path / "moving.gif")
    assert await at(film, tmp_path, 2.0) == pytest.approx([1.15], abs=0.011)
    assert await at(film, tmp_path, 0.05, 0.5, 1.12) == pytest.approx([0.0, 0.1, 1.1], abs=0.011)


RAW = {
    "raw.h264": ("libx264", "-bf", "0", "-g", "25"),
    "raw.hevc": ("libx265", "-x265-params", "log-level=0"),
    "raw.m2v": ("mpeg2video",),
}


@pytest.mark.trial("10.15", row=9)
@pytest.mark.parametrize("name", RAW)
async def test_raw_streams(tmp_path: Path, name: str) -> None:
    """A stream without any times is spread by the number of its frames."""
    film = tmp_path / name
    ffmpeg(*FLASHES, "-c:v", *RAW[name], film)
    assert times(await pictures_of(film, tmp_path, count=6)) == pytest.approx(range(6), abs=0.09)
    taken = await pictures_of(film, tmp_path, mode="timestamps", timestamps=(1.03, 4.03))
    assert times(taken) == pytest.approx([1.0, 4.0], abs=0.05)
    assert all(min(colour(frame.path)) > 128 for frame in taken.frames)
    assert not any("promises" in line for line in taken.warnings)


@pytest.mark.trial("10.15", row=10)
async def test_still_screen(tmp_path: Path) -> None:
    """A screen recording that stops writing frames gives exactly so many pictures, spread over those that are there."""
    film = tmp_path / "static.mkv"
    ffmpeg(
        *("-f", "lavfi", "-i", "testsrc2=s=64x36:r=10:d=20", "-f", "lavfi", "-i", "sine=d=60"),
        *(*X264, "-c:a", "aac", film),
    )
    taken = await pictures_of(film, tmp_path, count=6)
    assert times(taken) == pytest.approx([number * 20 / 6 for number in range(6)], abs=0.11)
    assert taken.warnings == ()
    gif = await pictures_of(make_gif(tmp_path / "moving.gif"), tmp_path, count=4)
    assert times(gif) == pytest.approx([0, 0.1, 1.1, 1.15], abs=0.011)
    assert gif.warnings == ()


@pytest.mark.trial("10.15", row=11)
@pytest.mark.parametrize(("transfer", "white"), [("smpte2084", 573), ("arib-std-b67", 721)])
async def test_high_dynamic_range(tmp_path: Path, transfer: str, white: int) -> None:
    """The white of an HDR film is bright in a still of an ordinary screen, its black black, and this is said."""
    film = tmp_path / "hdr.mp4"
    picture = (
        f"nullsrc=s=320x180:r=5:d=0.4,format=yuv420p10le,geq=lum='if(lt(X,160),{white},64)':cb=512:cr=512"
    )
    marks = ("-color_trc", transfer, "-color_primaries", "bt2020", "-colorspace", "bt2020nc")
    inner = f"log-level=0:colorprim=bt2020:transfer={transfer}:colormatrix=bt2020nc"
    ffmpeg(
        "-f", "lavfi", "-i", picture, "-c:v", "libx265", "-x265-params", inner, *marks, "-tag:v", "hvc1", film
    )
    # Making the table of colours takes seconds: the still of one, the strips of the other.
    if transfer == "smpte2084":
        taken = await pictures_of(film, tmp_path, count=1)
        shown = measure.picture(taken.frames[0].path).astype(int)
        assert 193 <= shown[:, 40:120].mean() <= 255
        assert shown[:, 200:280].mean() < 6
        assert any("dynamic range" in line for line in taken.warnings)
        return
    cut, folder = await strips_of(film, tmp_path, 0, 0, 320, 60)
    assert measure.picture(folder / "00000001.jpg").astype(int)[:, 40:120].mean() >= 193
    assert any("dynamic range" in line for line in cut.warnings)


@pytest.mark.trial("10.15", row=12)
@pytest.mark.parametrize("space", ["bt709", "bt2020nc", "smpte170m"])
async def test_colours_are_those_of_the_film(tmp_path: Path, space: str) -> None:
    """Red, green and blue of a film are the same in every kind of still, whatever the film's colour matrix."""
    film = tmp_path / "hd.mp4"
    shades = {"a": "0xC80000", "b": "0x00C800", "c": "0x0000C8"}
    stripes = "".join(f"color={shade}:s=64x108:d=1:r=5[{name}];" for name, shade in shades.items())
    matrix = {"bt709": "bt709", "bt2020nc": "bt2020", "smpte170m": "bt601"}[space]
    graph = (
        f"{stripes}[a][b][c]hstack=3,format=gbrp,scale=out_color_matrix={matrix}:out_range=tv,format=yuv444p"
    )
    primaries = {"bt709": "bt709", "bt2020nc": "bt2020", "smpte170m": "smpte170m"}[space]
    marks = ("-colorspace", space, "-color_primaries", primaries, "-color_trc", "bt709")
    ffmpeg("-filter_complex", graph, "-c:v", "libx264", "-crf", "5", *marks, film)
    for image_format in ("jpg", "webp", "png"):
        taken = await pictures_of(film, tmp_path, count=1, image_format=image_format)
        expect_stripes(taken.frames[0].path, 5)
    _, folder = await strips_of(film, tmp_path, 0, 0, 192, 108)
    expect_stripes(folder / "00000001.jpg", 5)


def expect_stripes(path: Path, within: int) -> None:
    """Check that a picture is a third red, a third green, a third blue."""
    shown = np.asarray(Image.open(path).convert("RGB"), np.int16)
    for place, wanted in ((32, (200, 0, 0)), (96, (0, 200, 0)), (160, (0, 0, 200))):
        assert np.abs(shown[54, place] - wanted).max() <= within, (path.name, place)


@pytest.mark.trial("10.15", row=13)
async def test_interlaced(tmp_path: Path) -> None:
    """A moving edge of an interlaced recording has no comb in stills and strips."""
    film = tmp_path / "interlaced.mpg"
    edge = "nullsrc=s=360x288:r=50:d=1,format=yuv420p,geq=lum='if(between(X,100+mod(N,20)*8,160+mod(N,20)*8),235,16)':cb=128:cr=128"
    ffmpeg(
        *("-f", "lavfi", "-i", edge, "-vf", "tinterlace=interleave_top", "-flags", "+ilme+ildct"),
        *("-c:v", "mpeg2video", "-b:v", "8M", "-top", "1", "-r", "25", film),
    )
    assert comb(measure.frames(film, 360, 288, "gray")[12]) > 5
    taken = await pictures_of(film, tmp_path, count=6)
    cut, folder = await strips_of(film, tmp_path, 0, 0, 360, 288)
    pictures = [frame.path for frame in taken.frames] + [folder / "00000012.jpg"]
    assert max(comb(measure.picture(path, "gray")) for path in pictures) < 1
    assert times(taken) == pytest.approx([number / 6 for number in range(6)], abs=0.05)
    assert len(cut.times) == 25


def comb(picture: np.ndarray) -> float:
    """Return how much neighbouring rows differ more than rows two apart: zero without interlacing."""
    rows = picture.astype(int)
    near = np.abs(rows[2:-2] - rows[1:-3]) + np.abs(rows[2:-2] - rows[3:-1])
    far = np.abs(rows[1:-3] - rows[3:-1])
    return float(np.clip(near - 2 * far - 20, 0, None).mean())


RGB = {
    "x264rgb.mkv": ("-c:v", "libx264rgb", "-preset", "ultrafast"),
    "utvideo.avi": ("-c:v", "utvideo", "-pix_fmt", "gbrp"),
    "ffv1.mkv": ("-c:v", "ffv1", "-pix_fmt", "gbrp"),
    "qtrle.mov": ("-c:v", "qtrle"),
    "zmbv.avi": ("-c:v", "zmbv"),
    "moving.gif": (),
    "moving.apng": ("-c:v", "apng"),
}


@pytest.mark.trial("10.15", row=18)
@pytest.mark.parametrize("name", RGB)
async def test_luma_of_rgb(tmp_path: Path, name: str) -> None:
    """A recording of red, green and blue has a brightness, too: as much of each as the eye sees."""
    film = tmp_path / name
    stripes = "color=0xC80000:s=32x36:r=10:d=0.5[a];color=0x00C800:s=32x36:r=10:d=0.5[b];[a][b]hstack"
    ffmpeg("-filter_complex", stripes, *RGB[name], film)
    taken, folder = await strips_of(film, tmp_path, 0, 0, 64, 36, luma=True)
    assert len(taken.times) >= 1
    shown = measure.frames(folder / "strips.mkv", 64, 36, "gray")[0].astype(int)
    assert shown[18, 10] == pytest.approx(0.299 * 200, abs=5)
    assert shown[18, 54] == pytest.approx(
        0.587 * 200, abs=12 if name.startswith("zmbv") else 4
    )  # 16 bits a pixel
