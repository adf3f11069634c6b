"""Signed URLs: a token opens one file by one method until its time, and nothing else."""

from __future__ import annotations

import base64
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from filestore.access import Caller
from filestore.signing import Grant, PresignMethod, UrlSigner, key_in
from results.file_links import PRESIGNED
from runtime.errors import PermissionDenied

GET, PUT = PresignMethod.GET, PresignMethod.PUT


class Clock:
    """A clock that the test moves."""

    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def signer(clock: Clock) -> UrlSigner:
    return UrlSigner(b"k" * 32, clock)


def token_of(url: str) -> str:
    return parse_qs(urlsplit(url).query)["token"][0]


def test_a_url_names_its_file(signer: UrlSigner) -> None:
    """Path and bucket can be read back from the URL, whatever letters they have."""
    url = urlsplit(signer.url("bucket", "t 1/ü?&#.srt", Grant(GET, 60, "für dich.srt")))
    assert unquote(url.path) == f"{PRESIGNED}/t 1/ü?&#.srt"
    assert parse_qs(url.query)["bucket"] == ["bucket"]
    granted = signer.verify("bucket", "t 1/ü?&#.srt", GET, token_of(url.geturl()))
    assert granted == Grant(GET, 60, "für dich.srt")


def test_a_url_is_somebodys(signer: UrlSigner) -> None:
    """A token says for whom it was made and for which task; one of a time before owners stands for `anonymous`."""
    grant = Grant(PUT, 60, caller=Caller("alice", all_files=True), task_id="t1")
    assert signer.verify("b", "p", PUT, token_of(signer.url("b", "p", grant))) == grant
    body = b'{"e":1000060,"n":"old.wav"}'
    parts = (body, signer._mac("b", "p", GET, body))
    token = ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)
    assert signer.verify("b", "p", GET, token) == Grant(GET, 60, "old.wav", Caller("anonymous"))


def test_it_works_until_its_time(signer: UrlSigner, clock: Clock) -> None:
    """A token is good in its last second and refused from the next on."""
    token = token_of(signer.url("b", "p", Grant(GET, 60)))
    clock.now += 59.9
    assert signer.verify("b", "p", GET, token).download_name == ""
    clock.now += 0.2
    with pytest.raises(PermissionDenied, match="expired"):
        signer.verify("b", "p", GET, token)


def test_it_opens_nothing_else(signer: UrlSigner) -> None:
    """Another bucket, path, method or key is refused, also where the joined names are the same letters."""
    token = token_of(signer.url("bu", "cket/p", Grant(GET, 60)))
    for bucket, path, method in (
        ("bu", "cket/q", GET),
        ("bu", "cket/p", PUT),
        ("buc", "ket/p", GET),
        ("xx", "cket/p", GET),
    ):
        with pytest.raises(PermissionDenied):
            signer.verify(bucket, path, method, token)
    with pytest.raises(PermissionDenied):
        UrlSigner(b"j" * 32, lambda: 0).verify("bu", "cket/p", GET, token)


def test_no_changed_token_passes(signer: UrlSigner) -> None:
    """Every single-character change of a token is refused, and so is anything that is no token."""
    token = token_of(signer.url("b", "p", Grant(GET, 60)))
    body, mac = token.split(".")
    # The last character of base64 carries unused bits; all others are significant.
    for place in [*range(len(body) - 1), *range(len(body) + 1, len(token) - 1)]:
        changed = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        with pytest.raises(PermissionDenied):
            signer.verify("b", "p", GET, changed)
    for junk in ("", ".", "x", f"{body}.", f".{mac}", body, "ä.ö", token + ".x", "é" * 10_000):
        with pytest.raises(PermissionDenied):
            signer.verify("b", "p", GET, junk)


def test_the_folder_keeps_its_key(tmp_path: Path) -> None:
    """A key is made once, private, and read again; a damaged one is refused."""
    key = key_in(tmp_path)
    assert key == key_in(tmp_path)
    assert len(key) == 32
    assert (tmp_path / "url.key").stat().st_mode & 0o077 == 0
    (tmp_path / "url.key").write_bytes(b"short")
    with pytest.raises(ValueError, match="32"):
        key_in(tmp_path)
