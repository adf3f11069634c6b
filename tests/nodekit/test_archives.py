"""Laws of unpacking archives that strangers made, through a node."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.nodekit.conftest import NodeFactory
from tests.nodekit.test_media_in import fetched, refused


def make_zip(path: Path, members: dict[str, bytes], link: str = "") -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in members.items():
            archive.writestr(name, body)
        if link:
            info = zipfile.ZipInfo("link")
            info.external_attr = 0o120777 << 16
            archive.writestr(info, link)


def make_tar(path: Path, members: dict[str, bytes], link: str = "") -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, body in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
        if link:
            info = tarfile.TarInfo("link")
            info.type, info.linkname = tarfile.SYMTYPE, link
            archive.addfile(info)


@pytest.mark.parametrize(("make", "name"), [(make_zip, "a.zip"), (make_tar, "a.tar.gz")])
async def test_archives_are_unpacked_safely(
    start_node: NodeFactory, tmp_path: Path, make: Any, name: str
) -> None:
    """An archive is a folder of its members; members that lead out, links, bombs and nonsense are refused and leave nothing."""
    node = await start_node(archive_limit_mib=4, directory_limit_files=5)
    archive = tmp_path / name
    make(archive, {"b/2.jpg": b"two", "1.jpg": b"one"})
    assert (await fetched(node, str(archive), directory=True))["files"] == ["1.jpg", "b/2.jpg"]
    for evil in ("../evil.jpg", "/etc/evil.jpg", "a/../../evil.jpg", "a\\..\\evil.jpg"):
        make(archive, {"ok.jpg": b"ok", evil: b"evil"})
        assert await refused(node, str(archive), directory=True) == "PATH_REFUSED", evil
    make(archive, {"ok.jpg": b"ok"}, link="/etc/passwd")
    assert await refused(node, str(archive), directory=True) == "PATH_REFUSED"
    make(archive, {f"{number}.jpg": b"x" for number in range(6)})
    assert await refused(node, str(archive), directory=True) == "ARCHIVE_TOO_LARGE"
    make(archive, {"bomb.jpg": bytes(17 * 1024 * 1024)})
    assert await refused(node, str(archive), directory=True) == "ARCHIVE_TOO_LARGE"
    archive.write_bytes(archive.read_bytes()[:100])
    assert await refused(node, str(archive), directory=True) == "ARCHIVE_UNREADABLE"
    archive.write_bytes(b"this is text")
    assert await refused(node, str(archive), directory=True) == "ARCHIVE_UNREADABLE"
    assert not list(tmp_path.rglob("evil.jpg"))
