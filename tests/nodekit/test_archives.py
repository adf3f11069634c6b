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
            info.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
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


@pytest.mark.trial("10.19")
@pytest.mark.parametrize("make", [make_zip, make_tar])
async def test_folders_count_and_names_fit(start_node: NodeFactory, tmp_path: Path, make: Any) -> None:
    """Folders, also those that only names make, count as files do; a path has bounds; what comes twice is the archive's fault."""
    node = await start_node(directory_limit_files=20)
    archive = tmp_path / "archive.bin"
    cases: list[tuple[dict[str, bytes], str]] = [
        ({f"{number}/x.jpg": b"x" for number in range(11)}, "ARCHIVE_TOO_LARGE"),
        ({f"{number}/": b"" for number in range(21)}, "ARCHIVE_TOO_LARGE"),
        ({"d/" * 20 + "x.jpg": b"x"}, "ARCHIVE_TOO_LARGE"),
        ({"d/" * 40 + "x.jpg": b"x"}, "PATH_REFUSED"),
        ({"n" * 256 + ".jpg": b"x"}, "PATH_REFUSED"),
        ({"n" * 1025: b"x"}, "PATH_REFUSED"),
        ({"a": b"x", "./a": b"y"}, "ARCHIVE_UNREADABLE"),
        ({"a": b"x", "a/b": b"y"}, "ARCHIVE_UNREADABLE"),
        ({"a/b": b"x", "a": b"y"}, "ARCHIVE_UNREADABLE"),
    ]
    for members, code in cases:
        make(archive, members)
        assert await refused(node, str(archive), directory=True) == code, list(members)[:2]
    make(archive, {f"{number}/x.jpg": b"x" for number in range(10)})
    assert len((await fetched(node, str(archive), directory=True))["files"]) == 10


@pytest.mark.trial("10.19")
async def test_what_describes_a_member_is_bounded(start_node: NodeFactory, tmp_path: Path) -> None:
    """A header that unpacks to megabytes, and a zip whose list of members does, are refused before they are read."""
    node = await start_node()
    archive = tmp_path / "archive.bin"
    with tarfile.open(archive, "w:gz", format=tarfile.PAX_FORMAT) as opened:
        info = tarfile.TarInfo("a.jpg")
        info.pax_headers = {"comment": "x" * 1024 * 1024}
        opened.addfile(info)
    assert await refused(node, str(archive), directory=True) == "ARCHIVE_UNREADABLE"
    make_zip(archive, {"a.jpg": b"x"})
    lying = bytearray(archive.read_bytes())
    at = lying.rfind(b"PK\x05\x06")
    lying[at + 12 : at + 16] = (32 * 1024 * 1024).to_bytes(4, "little")
    archive.write_bytes(lying)
    assert await refused(node, str(archive), directory=True) == "ARCHIVE_TOO_LARGE"
