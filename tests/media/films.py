"""Small films with known faults and features, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.media.local_runner import LocalRunner
from tests.media.measure import ffmpeg

PICTURES = "testsrc2=s=320x180:r=25:d=4"
TONE = "sine=f=440:r=44100:d=4"
X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-pix_fmt", "yuv420p")


@pytest.fixture
def runner() -> LocalRunner:
    """Runs real processes."""
    return LocalRunner()


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the films are made."""
    return tmp_path_factory.mktemp("films")


@pytest.fixture(scope="session")
def film(studio: Path) -> Path:
    """Four seconds, 25 frames a second with a key frame each second, a 440 Hz tone in stereo."""
    path = studio / "film.mp4"
    ffmpeg("-f", "lavfi", "-i", PICTURES, "-f", "lavfi", "-i", TONE, *X264, "-ac", "2", "-c:a", "aac", path)
    return path


@pytest.fixture(scope="session")
def silent_film(studio: Path) -> Path:
    """Pictures and no sound."""
    path = studio / "silent.mp4"
    ffmpeg("-f", "lavfi", "-i", PICTURES, *X264, path)
    return path


@pytest.fixture(scope="session")
def late_sound(studio: Path) -> Path:
    """Matroska whose sound starts half a second after the pictures."""
    path = studio / "late.mkv"
    sound = ("-itsoffset", "0.5", "-f", "lavfi", "-i", "sine=f=440:r=48000:d=2")
    ffmpeg("-f", "lavfi", "-i", PICTURES, *sound, *X264, "-c:a", "pcm_s16le", path)
    return path


@pytest.fixture(scope="session")
def sound_with_hole(studio: Path) -> Path:
    """Matroska whose sound is missing from 1 s to 2 s: no packets there."""
    path = studio / "hole.mkv"
    tone = "sine=f=440:r=48000:d=3:samples_per_frame=480,aselect=not(between(t\\,1\\,1.995))"
    ffmpeg("-f", "lavfi", "-i", tone, "-c:a", "pcm_s16le", path)
    return path


@pytest.fixture(scope="session")
def broadcast(studio: Path, film: Path) -> Path:
    """MPEG-TS: its clock starts at more than a minute, and the sound 0.3 s after the pictures."""
    path = studio / "broadcast.ts"
    ffmpeg(
        *("-i", film, "-itsoffset", "0.3", "-i", film, "-map", "0:v", "-map", "1:a", "-c", "copy"),
        *("-muxdelay", "0", "-output_ts_offset", "70", path),
    )
    return path


@pytest.fixture(scope="session")
def halves(studio: Path) -> Path:
    """The left half red, the right half blue; 160x120, one second."""
    path = studio / "halves.mp4"
    pictures = "color=red:s=80x120:r=10:d=1[l];color=blue:s=80x120:r=10:d=1[r];[l][r]hstack"
    ffmpeg("-filter_complex", pictures, *X264, path)
    return path


@pytest.fixture(scope="session")
def turned(studio: Path, halves: Path) -> Path:
    """The halves, marked to be shown turned by a quarter: red is to be above blue or below it."""
    path = studio / "turned.mp4"
    ffmpeg("-i", halves, "-c", "copy", "-metadata:s:v:0", "rotate=90", path)
    return path


@pytest.fixture(scope="session")
def narrow_pixels(studio: Path) -> Path:
    """A circle of 120x120 on the screen, stored in pixels that are twice as wide as high: coded 80x120."""
    path = studio / "narrow.mp4"
    circle = "color=black:s=160x120:r=10:d=1,geq=lum='255*lte(hypot(X-80,Y-60),50)':cb=128:cr=128"
    ffmpeg("-f", "lavfi", "-i", f"{circle},scale=80:120,setsar=2", *X264, "-crf", "5", path)
    return path


@pytest.fixture(scope="session")
def uneven(studio: Path) -> Path:
    """A varying frame rate: every third frame and all of the second second are missing."""
    path = studio / "uneven.mkv"
    gone = "select=not(eq(mod(n\\,3)\\,1)+between(t\\,1\\,1.999))"
    ffmpeg("-f", "lavfi", "-i", f"{PICTURES},{gone}", "-fps_mode", "vfr", *X264, path)
    return path


@pytest.fixture(scope="session")
def song_with_cover(studio: Path) -> Path:
    """Sound and a cover picture, which ffmpeg shows as a video stream."""
    cover, path = studio / "cover.png", studio / "song.flac"
    ffmpeg("-f", "lavfi", "-i", "color=green:s=64x64", "-frames:v", "1", cover)
    ffmpeg("-f", "lavfi", "-i", TONE, "-i", cover, "-c:v", "copy", "-disposition:v", "attached_pic", path)
    return path


@pytest.fixture(scope="session")
def broken(studio: Path, film: Path) -> dict[str, Path]:
    """Files that are no good: empty, text under a film's name, cut off before the index, a playlist, ..."""
    whole = film.read_bytes()
    fast = studio / "fast.mp4"
    ffmpeg("-i", film, "-c", "copy", "-movflags", "+faststart", fast)
    secret = studio / "secret.wav"
    ffmpeg("-f", "lavfi", "-i", "sine=d=1", secret)
    contents = {
        "empty.mp4": b"",
        "text.mp4": b"This is a letter, not a film.\n" * 50,
        "cut.mp4": whole[: len(whole) // 2],
        "half.mp4": fast.read_bytes()[: fast.stat().st_size // 2],
        "noise.mkv": bytes(range(256)) * 200,
        "playlist.mp4": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n".encode(),
        "concat.mp4": f"ffconcat version 1.0\nfile {secret}\n".encode(),
        "dash.mpd": _dash(secret).encode(),
        "session.sdp": b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
    }
    files = {}
    for name, content in contents.items():
        files[name] = studio / name
        files[name].write_bytes(content)
    return files


def _dash(target: Path) -> str:
    return (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'profiles="urn:mpeg:dash:profile:isoff-on-demand:2011" '
        'mediaPresentationDuration="PT1S"><Period><AdaptationSet mimeType="audio/wav"><Representation id="0" '
        f'bandwidth="1"><BaseURL>{target}</BaseURL></Representation></AdaptationSet></Period></MPD>'
    )
