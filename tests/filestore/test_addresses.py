"""URLs of the store itself, of its aliases and of the gateway name files; all others are somebody else's."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from filestore.access import Caller
from filestore.addresses import Addresses, NamedFile
from filestore.local import LocalBackend
from filestore.settings import FilestoreSection, S3Section
from filestore.signing import Grant
from filestore.store import FileStore
from runtime.errors import PathRefused, PermissionDenied

pytestmark = pytest.mark.trial("10.21")

SECTION = FilestoreSection(
    backend="s3",
    gateway_url="https://media.example",
    s3=S3Section(endpoint="store:9000", public_endpoint="https://s3.example"),
)
OURS = {
    "http://minio:9000/yivideo/t1/a%20b.mp4": NamedFile("yivideo", "t1/a b.mp4"),
    "http://store:9000/other/x?X-Amz-Signature=1": NamedFile("other", "x"),
    "https://S3.example/yivideo/ü": NamedFile("yivideo", "ü"),
    "https://s3.example:443/yivideo/x": NamedFile("yivideo", "x"),
    "https://media.example/v1/files/download/t1/x.wav?bucket=b": NamedFile("b", "t1/x.wav"),
    "https://media.example/v1/files/download/x": NamedFile("", "x"),
    "https://media.example/v1/files/presigned/x?bucket=b&token=t": NamedFile("b", "x", "t"),
}
OTHERS = [
    "https://store:9000/yivideo/x", "http://minio/yivideo/x", "http://minio:9001/yivideo/x", "ftp://minio:9000/x",
    "http://minio:9000@evil.example/yivideo/x", "http://user@minio:9000/yivideo/x", "http://minio:9000.evil.example/x",
    "http://minio:x/a", "minio:9000/yivideo/x", "",
]  # fmt: skip


@pytest.mark.parametrize("url", OURS)
def test_our_urls_name_files(url: str) -> None:
    """By every address of the store, in both forms, whatever query an S3 link has."""
    assert Addresses(SECTION).named(url) == OURS[url]


@pytest.mark.parametrize("url", OTHERS)
def test_other_urls_do_not(url: str) -> None:
    """Another scheme, port or host, a name that only looks like ours, and nonsense."""
    assert Addresses(SECTION).named(url) is None


async def test_a_signed_link_is_read_as_its_maker(tmp_path: Path) -> None:
    """A good link says for whom; a wrong one is refused, and so is a path that is none."""
    backend = LocalBackend(tmp_path)
    await backend.start("yivideo")
    store = FileStore(backend, FilestoreSection(gateway_url="http://g"))
    assert backend.signer is not None
    link = backend.signer.url("yivideo", "a/b", Grant(caller=Caller("alice")))
    assert store.resolve(f"http://g{link}") == ("yivideo", "a/b", Caller("alice"))
    assert store.resolve("http://minio:9000/yivideo/a/b") == ("yivideo", "a/b", None)
    assert store.resolve("http://elsewhere/yivideo/a/b") is None
    with pytest.raises(PermissionDenied):
        store.resolve(f"http://g{urlsplit(link).path}?bucket=yivideo&token=x.y")
    with pytest.raises(PathRefused):
        store.resolve("http://minio:9000/yivideo/a/../../b")
    await backend.aclose()
