"""crop_subtitle_images: every frame once, exact to the pixel, with its time."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from media.faults import FaultCode, MediaFault
from media.geometry import Region, Size
from services.ffmpeg.decoders import Decoder, choose_decoder, has_cuda_device
from services.ffmpeg.strips import StripOptions, cut_strips
from tests.media import measure as media
from tests.media.local_runner import LocalRunner

AREA = Region.from_corners(20, 130, 301, 171)


async def test_every_frame_once(runner: LocalRunner, film: Path, tmp_path: Path) -> None:
    """One file per frame, numbered from 1 without gaps, at the packets' times, by one process."""
    taken = await cut_strips(runner, film, tmp_path, StripOptions(AREA), Decoder.CPU)
    assert list(media.listing(tmp_path)) == [f"{number:08d}.jpg" for number in range(1, 101)]
    assert taken.times == pytest.approx(media.packet_times(film), abs=2e-6)
    assert [Path(command[0]).name for command in runner.commands] == ["ffprobe", Path(sys.executable).name]
    assert taken.decoder == "h264 (cpu)"


async def test_strips_show_the_area(runner: LocalRunner, film: Path, tmp_path: Path) -> None:
    """Each strip is that part of its frame: like its own frame and unlike the frame before."""
    await cut_strips(runner, film, tmp_path, StripOptions(AREA), Decoder.CPU)
    reference = media.frames(film, 320, 180, "gray", "scale=out_range=pc,format=gray")[:, 130:171, 20:301]
    for number in (1, 2, 50, 100):
        shown = media.picture(tmp_path / f"{number:08d}.jpg", "gray")
        assert shown.shape == (41, 281)
        assert media.psnr(shown, reference[number - 1]) > 38
        assert media.psnr(shown, reference[number - 1]) > media.psnr(shown, reference[number - 2]) + 1


async def test_luma_is_lossless(runner: LocalRunner, film: Path, tmp_path: Path) -> None:
    """Without files one stream holds the decoder's own luma, bit for bit, and no chroma."""
    taken = await cut_strips(runner, film, tmp_path, StripOptions(AREA, as_files=False), Decoder.CPU)
    assert list(media.listing(tmp_path)) == ["strips.mkv"]
    shown = media.ffprobe(tmp_path / "strips.mkv", "-show_streams")["streams"][0]
    assert (shown["codec_name"], shown["pix_fmt"]) == ("ffv1", "gray")
    kept = media.frames(tmp_path / "strips.mkv", 281, 41, "gray")
    whole = media.frames(film, 320, 180, "gray", "extractplanes=y")
    assert np.array_equal(kept, whole[:, 130:171, 20:301])
    assert len(taken.times) == 100


async def test_uneven_rate(runner: LocalRunner, uneven: Path, tmp_path: Path) -> None:
    """Frames of a varying rate are neither doubled nor dropped."""
    taken = await cut_strips(runner, uneven, tmp_path, StripOptions(AREA), Decoder.CPU)
    assert taken.times == pytest.approx(media.packet_times(uneven), abs=2e-6)
    assert len(media.listing(tmp_path)) == len(taken.times)


async def test_area_measured_on_a_smaller_picture(runner: LocalRunner, film: Path, tmp_path: Path) -> None:
    """An area found on reduced key frames is brought to the film's size."""
    options = StripOptions(Region(10, 65, 140, 20), area_frame=Size(160, 90))
    taken = await cut_strips(runner, film, tmp_path, options, Decoder.CPU)
    assert taken.area == Region(20, 130, 280, 40)


async def test_area_is_clamped_or_refused(runner: LocalRunner, film: Path, tmp_path: Path) -> None:
    """An area that sticks out is clamped; one that lies outside or is turned inside out is refused."""
    taken = await cut_strips(
        runner, film, tmp_path, StripOptions(Region.from_corners(-5, 150, 400, 200)), Decoder.CPU
    )
    assert taken.area.corners() == [0, 150, 320, 180]
    for corners in ((0, 180, 320, 200), (10, 20, 10, 40), (50, 50, 20, 80)):
        with pytest.raises(MediaFault) as caught:
            await cut_strips(runner, film, tmp_path, StripOptions(Region.from_corners(*corners)), Decoder.CPU)
        assert caught.value.code is FaultCode.AREA_OUTSIDE_FRAME


async def test_turned_and_stretched(
    runner: LocalRunner, turned: Path, narrow_pixels: Path, tmp_path: Path
) -> None:
    """The area is counted on the upright picture with square pixels."""
    for name, source, corners in (
        ("turned", turned, (0, 0, 120, 40)),
        ("narrow", narrow_pixels, (80, 50, 130, 70)),
    ):
        folder = tmp_path / name
        folder.mkdir()
        await cut_strips(runner, source, folder, StripOptions(Region.from_corners(*corners)), Decoder.CPU)
        shown = media.picture(folder / "00000001.jpg")
        assert shown.shape[:2] == (corners[3] - corners[1], corners[2] - corners[0])
        # One colour all over: red or blue there, the white of the circle here.
        assert shown[:, 2:-6].std(axis=(0, 1)).max() < 12


async def test_cuda_is_never_pretended(runner: LocalRunner, film: Path) -> None:
    """Without a card that decodes, a wish for CUDA is answered with the processor."""
    if has_cuda_device():
        pytest.skip("this machine has a CUDA card")
    assert await choose_decoder(runner, film, 0, "cuda") is Decoder.CPU
    assert await choose_decoder(runner, film, 0, "auto") is Decoder.CPU


async def test_cut_off_film(runner: LocalRunner, broken: dict[str, Path], tmp_path: Path) -> None:
    """Half a film gives the strips that are there, with a warning."""
    taken = await cut_strips(runner, broken["half.mp4"], tmp_path, StripOptions(AREA), Decoder.CPU)
    assert 10 < len(taken.times) < 95
    assert taken.warnings


@pytest.mark.parametrize("name", ["empty.mp4", "text.mp4", "cut.mp4", "playlist.mp4"])
async def test_broken_files(runner: LocalRunner, broken: dict[str, Path], name: str, tmp_path: Path) -> None:
    """What is no film is refused."""
    with pytest.raises(MediaFault):
        await cut_strips(runner, broken[name], tmp_path, StripOptions(AREA), Decoder.CPU)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "SAR-2by3.mp4",
        "cover_art_stream.mp4",
        "no_duration.webm",
        "scene_delayed_start.mp4",
        "softsub_mov_text.mp4",
        "two_audio_tracks_60fps.mp4",
    ],
)
async def test_odd_films(runner: LocalRunner, shared_media: Path, name: str, tmp_path: Path) -> None:
    """Every odd film gives a strip for each of its frames, at the packets' times."""
    source = shared_media / "video" / name
    options = StripOptions(Region.from_corners(10, 150, 250, 190))
    taken = await cut_strips(runner, source, tmp_path, options, Decoder.CPU)
    stored = media.packet_times(source)
    assert len(stored) - 1 <= len(taken.times) <= len(stored)
    assert set(taken.times) <= {round(time, 6) for time in stored}
    assert media.picture(tmp_path / "00000001.jpg").shape == (40, 240, 3)
    assert taken.warnings == ()
