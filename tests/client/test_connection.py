"""Which installation is meant, and which key it is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from yivideo_client.connection import Connection, ProfileError, resolve

PROFILES = """
[default]
url = "https://video.example/"
api_key = "yiv_default"

[lab]
url = "http://lab:8788"
"""


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """An environment whose profiles file has two profiles."""
    path = tmp_path / "yivideo" / "profiles.toml"
    path.parent.mkdir()
    path.write_text(PROFILES)
    path.chmod(0o600)
    return {"XDG_CONFIG_HOME": str(tmp_path)}


def test_the_order(home: dict[str, str]) -> None:
    """Arguments go before the environment, the environment before the profile, the profile before the default."""
    assert resolve(environ={"HOME": "/nonexistent"}).url == "http://127.0.0.1:8788"
    assert resolve(environ=home).url == "https://video.example"
    assert resolve(environ={**home, "YIVIDEO_PROFILE": "lab"}).url == "http://lab:8788"
    assert resolve(environ={**home, "YIVIDEO_URL": "http://env:1"}).url == "http://env:1"
    assert resolve("http://arg:1", environ={**home, "YIVIDEO_URL": "http://env:1"}).url == "http://arg:1"


def test_a_profiles_key_is_for_its_address(home: dict[str, str]) -> None:
    """A key from the file is not shown to an address that came from elsewhere; one that is given is."""
    assert resolve(environ=home).api_key == "yiv_default"
    assert resolve("https://video.example", environ=home).api_key == "yiv_default"
    assert resolve("http://elsewhere:1", environ=home).api_key is None
    assert resolve("http://elsewhere:1", "yiv_mine", environ=home).api_key == "yiv_mine"
    assert "yiv_" not in repr(resolve(environ=home))


def test_a_file_that_others_may_read(home: dict[str, str]) -> None:
    """A file with a key must be its owner's alone, and the message says how to make it so."""
    path = Path(home["XDG_CONFIG_HOME"]) / "yivideo" / "profiles.toml"
    path.chmod(0o644)
    with pytest.raises(ProfileError, match="chmod 600"):
        resolve(environ=home)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[default]\nurl = 3", "strings"),
        ("[default]\nuri = 'x'", "uri"),
        ("[default", "cannot be read"),
        ("default = 1", "table"),
    ],
)
def test_a_bad_file(home: dict[str, str], text: str, said: str) -> None:
    """What is wrong in the file is named."""
    (Path(home["XDG_CONFIG_HOME"]) / "yivideo" / "profiles.toml").write_text(text)
    with pytest.raises(ProfileError, match=said):
        resolve(environ=home)


def test_a_profile_that_is_not_there(home: dict[str, str]) -> None:
    """The ones that are there are listed."""
    with pytest.raises(ProfileError, match="default, lab"):
        resolve(profile="labs", environ=home)


@pytest.mark.parametrize("key", ["yiv_a\n", "yiv_a\r\nX-Other: 1", "yiv_ключ", "yiv_\x00"])
def test_what_is_no_key(key: str) -> None:
    """A key copied with its line's end, or with what no header may have, is told before a request, and without being shown."""
    with pytest.raises(ProfileError, match="API key") as told:
        Connection("http://x", key)
    assert "yiv_" not in str(told.value)


def test_authorities_that_are_not_there(home: dict[str, str]) -> None:
    """A file of authorities that is not there is named."""
    with pytest.raises(ProfileError, match="nowhere"):
        resolve("https://x", environ={**home, "YIVIDEO_CA_FILE": "/nowhere.pem"})


@pytest.mark.parametrize(
    "url", ["http://münchen.example", "http://[::1]:8788", "https://x/base", "http://x:80/"]
)
def test_what_is_an_address(url: str) -> None:
    """Names in any letters, IPv6, and a path before the gateway's own."""
    assert Connection(url).url == url.rstrip("/")


@pytest.mark.parametrize(
    "url",
    [
        "video.example", "ftp://x", "http://", "http://x?y", "", "http://[::1", "http://x:port", "http://x:0",
        "http://x:99999", "http://x/a b\n", "http://x/ü",
    ],
)  # fmt: skip
def test_what_is_no_address(url: str) -> None:
    """Only http and https with a host, and no query."""
    with pytest.raises(ProfileError):
        Connection(url)
